// What `--help` prints: every command has it, and it fits a screen.
#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/run_command.h"

namespace sim::testing {
namespace {

constexpr int kScreenLines = 40;

// The subcommands that a help text lists.
std::vector<std::string> subcommands(const std::string& help) {
  std::vector<std::string> names;
  std::istringstream lines(help);
  bool listed = false;
  static const std::regex row(R"(^  ([a-z][a-z-]*) .*)");
  for (std::string line; std::getline(lines, line);) {
    std::smatch match;
    if (line.rfind("Subcommands:", 0) == 0) listed = true;
    if (listed && std::regex_match(line, match, row)) names.push_back(match[1]);
  }
  return names;
}

int check_help(const TempFolder& folder, const std::vector<std::string>& command) {
  std::vector<std::string> arguments = command;
  arguments.push_back("--help");
  const CommandResult result = simulate(folder, arguments);
  std::string name = "simulate";
  for (const std::string& word : command) name += " " + word;
  EXPECT_EQ(result.exit_code, 0) << name;
  EXPECT_LE(std::count(result.out.begin(), result.out.end(), '\n'), kScreenLines) << name;
  int seen = 1;
  for (const std::string& each : subcommands(result.out)) {
    std::vector<std::string> below = command;
    below.push_back(each);
    seen += check_help(folder, below);
  }
  return seen;
}

TEST(Help, OfEveryCommandFitsAScreen) {
  const TempFolder folder;
  EXPECT_GE(check_help(folder, {}), 25);  // commands and subcommands that were asked
}

}  // namespace
}  // namespace sim::testing
