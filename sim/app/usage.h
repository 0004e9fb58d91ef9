// What is wrong with a command line, in the words of every other message: what, where, and what to
// do.
#pragma once

#include <string>

namespace CLI {
class App;
class ParseError;
}  // namespace CLI

namespace sim {

// One line for what `app` could not parse: an unknown command or option is named, with the nearest
// that exists.
std::string usage_mistake(const CLI::App& app, const CLI::ParseError& error);

}  // namespace sim
