// `simulate trace synth --gate`, as a user runs it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

using ::testing::HasSubstr;

class TraceGate : public Refusal {
 protected:
  std::string ok(const std::vector<std::string>& arguments) {
    const CommandResult result = simulate(folder_, arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  }
};

// Partition: 64 tokens on 16 experts are 4 each, so every layer's max/mean is 1, in the report and
// in the run that replays it (8 tokens on each of 8 ranks with 2 experts each).
TEST_F(TraceGate, IsWrittenAndReplayed) {
  const std::string said =
      ok({"trace", "synth", "--gate", "base", "--layers", "2", "--experts", "16", "--steps", "3",
          "--tokens-per-rank", "8", "-o", "base.moetrace"});
  EXPECT_THAT(said, HasSubstr("base.moetrace: 192 rows, "));
  EXPECT_THAT(said, HasSubstr("choices    1.00 per row and layer\n"
                              "imbalance  1.00 max/mean over experts in the first step, 1.00 in "
                              "the last\n"
                              "gate       32 flops per token, layer and unit of hidden size\n"));
  std::string model = kTinyModel;
  model.replace(model.find("top_k: 2"), 8, "top_k: 1");
  folder_.write("model.yaml", model);
  EXPECT_THAT(ok({"run", "good.yaml", "--set", "routing={trace: base.moetrace}"}),
              HasSubstr("imbalance   1.00 max/mean over ranks, 1.00 over experts"));
}

// 64 tokens, one expert in 16 per source rank of 8 tokens: capacity ceil(0.5 * 8 / 16) = 1.
TEST_F(TraceGate, SaysWhatItsCapacityWouldDrop) {
  EXPECT_THAT(
      ok({"trace", "synth", "--gate", "switch", "--set", "capacity_factor=0.5", "--layers", "2",
          "--experts", "16", "--steps", "3", "--tokens-per-rank", "8", "-o", "s.moetrace"}),
      HasSubstr("capacity   factor 0.5 per source rank would drop "));
}

TEST_F(TraceGate, RefusesWhatDoesNotGoTogether) {
  const std::vector<std::string> synth = {"trace", "synth", "-o", "a.moetrace"};
  const auto with = [&](const std::vector<std::string>& more) {
    std::vector<std::string> all = synth;
    all.insert(all.end(), more.begin(), more.end());
    return refused(all);
  };
  EXPECT_EQ(with({"--gate", "topk", "--steps", "1"}),
            "there is no gate 'topk'; did you mean 'top-k'?\n");
  EXPECT_EQ(with({"--gate", "top-k"}), "trace synth --gate needs --steps\n");
  EXPECT_THAT(with({"--gate", "top-k", "--steps", "1", "--zipf", "1"}), HasSubstr("excludes"));
  EXPECT_THAT(with({"--set", "k=1", "--steps", "1"}),
              HasSubstr("--set is a key of --gate or of --workload"));
}

// Every gate and balance term is listed, with its source.
TEST_F(TraceGate, TheTablesAreListed) {
  const std::string text = ok({"list", "policies"});
  EXPECT_THAT(text, HasSubstr("expert-choice"));
  EXPECT_THAT(text, HasSubstr("  source: Expert choice, arXiv 2202.09368"));
  EXPECT_THAT(text, HasSubstr("z-loss"));
  EXPECT_THAT(text, HasSubstr("  on a trace: needs scores: logits"));
}

}  // namespace
}  // namespace sim::testing
