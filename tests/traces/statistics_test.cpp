#include "traces/statistics.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cmath>

#include "tests/traces/temp_file.h"
#include "traces/synthetic/synthetic.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

using testing::error_text;
using testing::TempFile;

// 4 experts with 6, 2, 0, 0 choices: mean 2; squares 16 + 0 + 4 + 4 = 24, cv = sqrt(6)/2; pairs
// |ci - cj| = 4 + 6 + 6 + 2 + 2 + 0 = 20, gini = 20 / (4 * 8); entropy of 3/4, 1/4 over ln 4.
TEST(Imbalance, MatchesHandComputedFigures) {
  const Imbalance got = imbalance(std::vector<std::int64_t>{6, 2, 0, 0});
  EXPECT_EQ(got.choices, 8);
  EXPECT_EQ(got.zero_experts, 2);
  EXPECT_DOUBLE_EQ(got.max_over_mean, 3.0);
  EXPECT_DOUBLE_EQ(got.cv, std::sqrt(6.0) / 2);
  EXPECT_DOUBLE_EQ(got.gini, 20.0 / 32);
  EXPECT_NEAR(got.normalised_entropy,
              (0.75 * std::log(4.0 / 3) + 0.25 * std::log(4.0)) / std::log(4.0), 1e-15);
}

TEST(Imbalance, OfBalancedOneExpertAndNothing) {
  const Imbalance balanced = imbalance(std::vector<std::int64_t>{3, 3, 3});
  EXPECT_DOUBLE_EQ(balanced.max_over_mean, 1);
  EXPECT_DOUBLE_EQ(balanced.cv, 0);
  EXPECT_DOUBLE_EQ(balanced.gini, 0);
  EXPECT_DOUBLE_EQ(balanced.normalised_entropy, 1);
  const Imbalance one = imbalance(std::vector<std::int64_t>{0, 9, 0});
  EXPECT_DOUBLE_EQ(one.max_over_mean, 3);
  EXPECT_DOUBLE_EQ(one.gini, 1 - 1.0 / 3);
  EXPECT_DOUBLE_EQ(one.normalised_entropy, 0);
  const Imbalance none = imbalance(std::vector<std::int64_t>{0, 0});
  EXPECT_EQ(none.choices, 0);
  EXPECT_EQ(none.max_over_mean, 0);
}

TEST(Statistics, ByStepAddUpToTheWhole) {
  const TempFile file("a.moetrace");
  SyntheticTrace trace;
  trace.experts = {16, 300};
  trace.top_k = 3;
  trace.steps = 4;
  trace.tokens_per_rank = {5, 0, 11};
  write_synthetic({}, trace, 7, file.path());
  const auto whole = layer_statistics(file.path(), StatisticsBy::kWhole);
  const auto steps = layer_statistics(file.path(), StatisticsBy::kStep);
  ASSERT_EQ(whole.size(), 2U);
  ASSERT_EQ(steps.size(), 8U);
  EXPECT_EQ(whole[1].tokens, 64);
  EXPECT_DOUBLE_EQ(whole[1].choices_per_token, 3);
  for (std::size_t layer = 0; layer < 2; ++layer) {
    std::vector<std::int64_t> sum(whole[layer].counts.size(), 0);
    for (std::size_t step = 0; step < 4; ++step) {
      EXPECT_EQ(steps[2 * step + layer].step, static_cast<std::int64_t>(step));
      EXPECT_EQ(steps[2 * step + layer].tokens, 16);
      for (std::size_t e = 0; e < sum.size(); ++e) sum[e] += steps[2 * step + layer].counts[e];
    }
    EXPECT_EQ(sum, whole[layer].counts);
  }
}

TEST(Statistics, SayWhenThereAreNoStepsOrTags) {
  const TempFile file("a.moetrace");
  SyntheticTrace trace;
  trace.experts = {16};
  trace.top_k = 3;
  trace.requests = 2;
  write_synthetic({}, trace, 7, file.path());
  EXPECT_EQ(error_text([&] { layer_statistics(file.path(), StatisticsBy::kStep); }),
            file.path() +
                ": this trace has no recorded steps; steps form at replay; ask for the "
                "whole trace");
  EXPECT_EQ(error_text([&] { layer_statistics(file.path(), StatisticsBy::kTag); }),
            file.path() + ": this trace has no tags; ask for the whole trace");
  const TraceInfo info = read_info(file.path());
  EXPECT_EQ(info.rows, 2);
  EXPECT_EQ(info.choices, 6);
  EXPECT_EQ(info.first_step, 0);
  EXPECT_EQ(info.last_step, 1);
}

// The counting loop against the obvious one, at odd lengths and both widths.
TEST(Statistics, FastCountingEqualsSlowCounting) {
  for (const int experts : {7, 256, 1000}) {
    const TempFile file("a.moetrace");
    SyntheticTrace trace;
    trace.experts = {experts, experts};
    trace.top_k = 3;
    trace.steps = 1;
    trace.tokens_per_rank = {1001};
    write_synthetic({}, trace, 3, file.path());
    TraceReader reader(file.path());
    const TokenChunk chunk = reader.read_chunk(0);
    std::vector<std::int64_t> fast(static_cast<std::size_t>(experts), 0);
    std::vector<std::int64_t> slow = fast;
    count_choices(chunk, 1, fast);
    for (std::size_t i = 0; i < chunk.choices_of(1); ++i) ++slow[chunk.column(1).at(i)];
    EXPECT_EQ(fast, slow);
  }
}

}  // namespace
}  // namespace sim
