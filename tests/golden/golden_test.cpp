// Every folder beside this file: run scenario.yaml, ask query.sql, compare with expected.csv.
// Twice, with the same fingerprint. MOE_ACCEPT_GOLDEN=1 writes expected.csv anew; the commit then
// says why the numbers moved.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/support/run_command.h"

namespace sim::testing {
namespace {

namespace fs = std::filesystem;

std::vector<fs::path> golden_folders() {
  std::vector<fs::path> folders;
  for (const auto& entry : fs::directory_iterator(fs::path(MOE_SOURCE_DIR) / "tests" / "golden")) {
    if (entry.is_directory()) folders.push_back(entry.path());
  }
  std::sort(folders.begin(), folders.end());
  return folders;
}

std::string content(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct Answer {
  std::string rows;
  std::string fingerprint;
};

Answer answer(const fs::path& folder, const std::string& query) {
  const TempFolder temporary;
  const auto ok = [&](const std::vector<std::string>& arguments) {
    const CommandResult result = simulate(temporary, arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  };
  ok({"run", (folder / "scenario.yaml").string(), "--results", "r.db"});
  return {ok({"query", "r.db", query, "--csv"}),
          ok({"query", "r.db", "SELECT fingerprint FROM runs", "--csv"})};
}

TEST(Golden, EveryScenarioGivesItsRows) {
  const bool accept = std::getenv("MOE_ACCEPT_GOLDEN") != nullptr;
  const std::vector<fs::path> folders = golden_folders();
  EXPECT_GE(folders.size(), 6u);
  for (const fs::path& folder : folders) {
    SCOPED_TRACE(folder.filename().string());
    const std::string query = content(folder / "query.sql");
    ASSERT_NE(query, "");
    const Answer first = answer(folder, query);
    const Answer second = answer(folder, query);
    EXPECT_EQ(first.fingerprint, second.fingerprint);
    EXPECT_EQ(first_difference(first.rows, second.rows), "");
    if (accept) std::ofstream(folder / "expected.csv", std::ios::binary) << first.rows;
    EXPECT_EQ(first_difference(first.rows, content(folder / "expected.csv")), "")
        << "if this is meant, run with MOE_ACCEPT_GOLDEN=1 and say why in the commit";
  }
}

}  // namespace
}  // namespace sim::testing
