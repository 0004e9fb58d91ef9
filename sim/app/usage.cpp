#include "sim/app/usage.h"

#include <CLI/CLI.hpp>
#include <vector>

#include "sim/core/error.h"
#include "sim/input/suggestion.h"

namespace sim {
namespace {

std::vector<std::string> commands_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::App* command : app.get_subcommands({})) names.push_back(command->get_name());
  return names;
}

std::vector<std::string> options_of(const CLI::App& app) {
  std::vector<std::string> names;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  return names;
}

constexpr std::size_t kHelpColumn = 34;

class HelpLayout : public CLI::Formatter {
 public:
  std::string make_option_opts(const CLI::Option* option) const override {
    if (!option->get_option_text().empty()) return " " + option->get_option_text();
    if (option->get_type_size() == 0) return "";
    const std::string type = option->get_type_name();
    std::string text = " " + type.substr(0, type.find(':'));  // "INT:INT in [1 - 9]" -> "INT"
    if (!option->get_default_str().empty()) text += "=" + option->get_default_str();
    if (option->get_expected_max() == CLI::detail::expected_max_vector_size) {
      text += " ...";
    } else if (option->get_expected_min() > 1) {
      text += " x " + std::to_string(option->get_expected());
    }
    return text + (option->get_required() ? " (required)" : "");
  }
};

}  // namespace

std::string usage_mistake(const CLI::App& app, const CLI::ParseError& error) {
  const CLI::App* command = &app;
  std::string said = "simulate";
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    said += " " + command->get_name();
  }
  const std::vector<std::string> left = command->remaining();
  const std::vector<std::string> commands = commands_of(*command);
  const std::string help = "`" + said + " --help` shows what it takes";
  for (const std::string& word : left) {
    if (word.rfind("-", 0) != 0) continue;
    const std::string option = word.substr(0, word.find('='));
    return to_text(
        {{said}, "there is no option '" + option + "'", suggest(option, options_of(*command))});
  }
  if (!commands.empty()) {
    if (left.empty()) return to_text({{said}, "a command is missing", suggest("", commands)});
    return to_text(
        {{said}, "there is no command '" + left.front() + "'", suggest(left.front(), commands)});
  }
  if (!left.empty()) {
    return to_text({{said}, "the argument '" + left.front() + "' is one too many", help});
  }
  return to_text({{said}, error.what(), help});
}

std::shared_ptr<CLI::FormatterBase> help_layout() {
  auto layout = std::make_shared<HelpLayout>();
  layout->column_width(kHelpColumn);
  return layout;
}

}  // namespace sim
