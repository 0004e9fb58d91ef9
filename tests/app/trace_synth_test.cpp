// What `trace synth` refuses rather than ignores, and where it writes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

using ::testing::HasSubstr;

class TraceSynth : public Refusal {
 protected:
  std::string with(std::vector<std::string> more) {
    more.insert(more.begin(), {"trace", "synth"});
    return refused(more);
  }
  void synth(const std::string& out) {
    const CommandResult made =
        simulate(folder_, {"trace", "synth", "--requests", "8", "--layers", "2", "--experts", "8",
                           "--top-k", "2", "--zipf", "1", "-o", out});
    ASSERT_EQ(made.exit_code, 0) << made.err;
  }
};

TEST_F(TraceSynth, OptionsThatSayNothingHereAreRefused) {
  EXPECT_THAT(with({"--positions", "3", "5", "--steps", "2", "-o", "a"}),
              HasSubstr("--positions requires --requests"));
  EXPECT_THAT(with({"--repeat", "0.5", "--steps", "2", "-o", "a"}),
              HasSubstr("--repeat requires --requests"));
  EXPECT_THAT(with({"--requests", "3", "--ranks", "9", "-o", "a"}), HasSubstr("excludes"));
  EXPECT_THAT(with({"--ep", "4", "--steps", "2", "-o", "a"}),
              HasSubstr("--ep requires --workload"));
}

TEST_F(TraceSynth, SeedsAreNotCutToSize) {
  EXPECT_THAT(with({"--steps", "1", "--seed", "-1", "-o", "a"}), HasSubstr("--seed"));
  EXPECT_THAT(with({"--steps", "1", "--seed", "18446744073709551616", "-o", "a"}),
              HasSubstr("--seed"));
}

TEST_F(TraceSynth, AWorkloadsRanksShareItsExperts) {
  EXPECT_EQ(with({"--workload", "hot-rank", "--steps", "1", "--ep", "3", "-o", "a"}),
            "--ep 3 does not fit 8 ranks and 32 experts; it divides the ranks and is at most the "
            "experts: --ep, --ranks, --experts\n");
}

TEST_F(TraceSynth, TheTraceThatItIsLikeStays) {
  synth("a.moetrace");
  EXPECT_EQ(with({"--like", "a.moetrace", "-o", "a.moetrace"}),
            "a.moetrace: this is the trace to be like itself; name another file with -o\n");
  EXPECT_THAT(with({"--like", "a.moetrace", "-o", "missing/b.moetrace"}),
              HasSubstr("missing/b.moetrace: cannot be written: No such file or directory"));
}

TEST_F(TraceSynth, WritesThroughALinkAndNeverInThePlaceOfADevice) {
  folder_.write("target.moetrace", "old");
  std::filesystem::create_symlink("target.moetrace", folder_.file("link.moetrace"));
  synth("link.moetrace");
  EXPECT_TRUE(std::filesystem::is_symlink(folder_.file("link.moetrace")));
  EXPECT_THAT(folder_.read("target.moetrace"), HasSubstr("MOETRACE"));
  EXPECT_EQ(with({"--steps", "1", "-o", "/dev/null"}),
            "/dev/null: cannot be written: it is a device or a pipe; name a file\n");
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
  EXPECT_EQ(with({"--steps", "1", "-o", "."}),
            ".: cannot be written: it is a folder; name a file in it\n");
}

}  // namespace
}  // namespace sim::testing
