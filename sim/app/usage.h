// What is wrong with a command line, in the words of every other message: what, where, and what to
// do.
#pragma once

#include <memory>
#include <string>

namespace CLI {
class App;
class FormatterBase;
class ParseError;
}  // namespace CLI

namespace sim {

// One line for what `app` could not parse: an unknown command or option is named, with the nearest
// that exists.
std::string usage_mistake(const CLI::App& app, const CLI::ParseError& error);

// How `--help` is laid out: a line an option, without ranges and lists of what excludes what (their
// messages say it), so that it fits a screen.
std::shared_ptr<CLI::FormatterBase> help_layout();

}  // namespace sim
