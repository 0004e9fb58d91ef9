// What stands where --out points: a link or a pipe stays what it is.
#include <gmock/gmock.h>
#include <sys/stat.h>

#include <cstdlib>

#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

class OutputPlace : public Refusal {};

TEST_F(OutputPlace, ABatchIsWrittenThroughALinkAndRefusesAFolder) {
  folder_.write("asked.csv", "device,rows,hidden\nh100-sxm,16,512\n");
  std::filesystem::create_symlink("priced.csv", folder_.file("link.csv"));
  const std::vector<std::string> ask = {"cost",      "--kernel", "norm",    "--batch",
                                        "asked.csv", "--out",    "link.csv"};
  const CommandResult result = simulate(folder_, ask);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_TRUE(std::filesystem::is_symlink(folder_.file("link.csv")));
  EXPECT_THAT(folder_.read("priced.csv"),
              ::testing::HasSubstr("device,rows,hidden,time_s,label,in_range\nh100-sxm,16,512,"));
  EXPECT_EQ(refused({"cost", "--kernel", "norm", "--batch", "asked.csv", "--out", "."}),
            ".: cannot be written: it is a folder; name a file in it\n");
}

}  // namespace
}  // namespace sim::testing
