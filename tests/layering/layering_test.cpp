// Reads every #include of the repository and names the arrow that it breaks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "tests/layering/include_rules.h"

namespace sim::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct SourceFile {
  std::string path;  // from the repository root
  std::string text;
};

std::vector<SourceFile> sources(const std::set<std::string>& endings) {
  const fs::path root = MOE_SOURCE_DIR;
  std::vector<SourceFile> result;
  for (const char* folder : {"sim", "topologies", "traces", "models", "analysis", "tests"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / folder)) {
      if (!entry.is_regular_file() || endings.count(entry.path().extension().string()) == 0)
        continue;
      std::ifstream in(entry.path(), std::ios::binary);
      std::ostringstream text;
      text << in.rdbuf();
      result.push_back({entry.path().lexically_relative(root).generic_string(), text.str()});
    }
  }
  return result;
}

std::vector<SourceFile> code() { return sources({".h", ".cpp", ".cu", ".cuh"}); }

TEST(Layering, EveryIncludeFollowsTheArrows) {
  const std::vector<SourceFile> files = code();
  ASSERT_GT(files.size(), 150u) << "the repository was not found";
  for (const SourceFile& file : files) {
    EXPECT_THAT(include_mistakes(file.path, file.text), IsEmpty());
  }
}

TEST(Layering, NoFolderOrFileIsADrawer) {
  for (const SourceFile& file : code()) EXPECT_THAT(path_mistakes(file.path), IsEmpty());
}

TEST(Layering, SourcesHoldNoMachinePathsAndNothingHidden) {
  for (const SourceFile& file : code()) {
    if (file.path == "tests/layering/layering_test.cpp") continue;  // holds broken examples
    EXPECT_THAT(text_mistakes(file.path, file.text), IsEmpty());
  }
}

// The checker itself, on text.

TEST(IncludeRules, ABrokenArrowIsNamedWithFileAndLine) {
  EXPECT_THAT(include_mistakes("sim/core/clock.cpp", "// x\n#include \"sim/input/quantity.h\"\n"),
              ElementsAre("sim/core/clock.cpp:2: includes sim/input/quantity.h; "
                          "sim/core may not include sim/input"));
  EXPECT_THAT(include_mistakes("topologies/a.cpp", "#include \"traces/routing.h\"\n"),
              ElementsAre("topologies/a.cpp:1: includes traces/routing.h; "
                          "topologies may not include traces"));
  EXPECT_THAT(include_mistakes("analysis/a.cpp", "  #  include \"sim/policies/a/b.h\"\n"),
              ElementsAre("analysis/a.cpp:1: includes sim/policies/a/b.h; "
                          "analysis may not include sim/policies"));
  EXPECT_THAT(include_mistakes("sim/policies/a.cpp", "#include \"sim/workloads/kinds.h\"\n"),
              ElementsAre("sim/policies/a.cpp:1: includes sim/workloads/kinds.h; "
                          "sim/policies may not include sim/workloads"));
  EXPECT_THAT(include_mistakes("sim/workloads/a.cpp", "#include \"analysis/records.h\"\n"),
              ElementsAre("sim/workloads/a.cpp:1: includes analysis/records.h; "
                          "sim/workloads may not include analysis"));
  EXPECT_THAT(include_mistakes("sim/app/a.cpp", "#include \"tests/support/shared_data.h\"\n"),
              ElementsAre("sim/app/a.cpp:1: includes tests/support/shared_data.h; "
                          "tests are included by tests only"));
}

TEST(IncludeRules, ArrowsThatHoldAndIncludesOfTheOwnFolderPass) {
  const std::string all =
      "#include <vector>\n#include \"sim/core/id.h\"\n#include \"sim/input/quantity.h\"\n"
      "#include \"topologies/cluster.h\"\n#include \"traces/routing.h\"\n"
      "#include \"models/dtype.h\"\n#include \"sim/policies/placement/placement.h\"\n"
      "#include \"sim/workloads/kinds.h\"\n";
  EXPECT_THAT(include_mistakes("sim/workloads/x.h", all), IsEmpty());
  EXPECT_THAT(include_mistakes("sim/app/commands/x.cpp", all + "#include \"analysis/query.h\"\n"),
              IsEmpty());
  EXPECT_EQ(include_mistakes("sim/core/x.h", all).size(), 6u);
}

TEST(IncludeRules, AnIncludeMustStartAtAKnownFolder) {
  EXPECT_THAT(include_mistakes("sim/core/a.cpp", "#include \"id.h\"\n"),
              ElementsAre("sim/core/a.cpp:1: includes id.h; "
                          "include paths start at a folder of the repository's root"));
  EXPECT_THAT(include_mistakes("sim/newcomer/a.cpp", "#include \"sim/core/id.h\"\n"),
              ElementsAre("sim/newcomer/a.cpp:1: includes sim/core/id.h; "
                          "this folder is not in the table of arrows"));
}

TEST(IncludeRules, ALibraryStaysInItsOwnSourceFiles) {
  EXPECT_THAT(include_mistakes("sim/input/yaml_reader.cpp", "#include <yaml-cpp/yaml.h>\n"),
              IsEmpty());
  EXPECT_THAT(include_mistakes("sim/input/quantity.cpp", "#include <yaml-cpp/yaml.h>\n"),
              ElementsAre("sim/input/quantity.cpp:1: includes yaml-cpp/yaml.h; "
                          "only these may: sim/input/yaml_reader.cpp"));
  EXPECT_THAT(include_mistakes("topologies/routes.h", "#include <boost/graph/graph_traits.hpp>\n"),
              ElementsAre("topologies/routes.h:1: includes boost/graph/graph_traits.hpp; "
                          "a header shows a library to everyone who includes it"));
  EXPECT_THAT(include_mistakes("sim/app/a.cpp", "#include <sqlite3.h>\n"),
              ElementsAre("sim/app/a.cpp:1: includes sqlite3.h; only these may: analysis/"));
  EXPECT_THAT(include_mistakes("models/a.cpp", "#include <trace.pb.h>\n"),
              ElementsAre("models/a.cpp:1: includes trace.pb.h; only these may: traces/"));
  EXPECT_THAT(include_mistakes("analysis/a.cpp", "#include <CLI/CLI.hpp>\n"),
              ElementsAre("analysis/a.cpp:1: includes CLI/CLI.hpp; only these may: sim/app/ "
                          "models/microbench/main.cpp"));
  EXPECT_EQ(include_mistakes("sim/core/a.cpp", "#include <fmt/format.h>\n").size(), 1u);
  EXPECT_THAT(include_mistakes("models/a.cpp", "#include <ceres/ceres.h>\n"),
              ElementsAre("models/a.cpp:1: includes ceres/ceres.h; "
                          "a library that tests/layering/include_rules.cpp does not know"));
}

TEST(IncludeRules, DrawersMachinePathsAndStrangeBytesAreNamed) {
  EXPECT_THAT(path_mistakes("sim/utils/a.h"),
              ElementsAre("sim/utils/a.h: 'utils' says nothing; name it after what it is about"));
  EXPECT_EQ(path_mistakes("sim/core/common.h").size(), 1u);
  EXPECT_THAT(path_mistakes("sim/core/commonplace.h"), IsEmpty());
  EXPECT_THAT(text_mistakes("a.cpp", "int x;\nopen(\"/home/me/x\");\n"),
              ElementsAre("a.cpp:2: a path of somebody's machine"));
  EXPECT_THAT(text_mistakes("a.cpp", "// models/root/a, sim/work/b, https://x.org/home/page\n"),
              IsEmpty());
  EXPECT_THAT(text_mistakes("a.cpp", "int a;\r\n"),
              ElementsAre("a.cpp:1: a hidden character, number 13"));
  EXPECT_THAT(text_mistakes("a.cpp", "\t// \xc3\xa9 \xe2\x96\x88 \xf0\x9f\x98\x80\n"), IsEmpty());
  EXPECT_THAT(text_mistakes("a.cpp", "// a\xe2\x80\xae b\n"),  // right to left from here
              ElementsAre("a.cpp:1: a hidden character, number 8238"));
  EXPECT_THAT(text_mistakes("a.cpp", "// \xc3(\n"),
              ElementsAre("a.cpp:1: bytes that are not UTF-8"));
  EXPECT_THAT(text_mistakes("a.cpp", "// \x80\n"),
              ElementsAre("a.cpp:1: bytes that are not UTF-8"));
}

}  // namespace
}  // namespace sim::testing
