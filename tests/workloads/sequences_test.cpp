#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "sim/workloads/inference.h"

namespace sim {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

std::int64_t sum(const std::vector<std::int64_t>& values) {
  return std::accumulate(values.begin(), values.end(), std::int64_t{0});
}

TEST(MakeSequences, DecodeKeepsItsSequencesAndEachGrowsByOneAStep) {
  const InferenceWorkload workload{Phase::kDecode, 5, {100, 200}, 3, 0, 7};
  const auto first = make_sequences(workload, 4, 0, {});
  const auto third = make_sequences(workload, 4, 2, {});
  ASSERT_THAT(first, SizeIs(4));
  std::int64_t least = 1000, most = 0;
  for (std::size_t r = 0; r < 4; ++r) {
    EXPECT_THAT(first[r].new_tokens, ElementsAre(1, 1, 1, 1, 1));
    for (std::size_t s = 0; s < 5; ++s) {
      EXPECT_EQ(third[r].context[s], first[r].context[s] + 2);
      least = std::min(least, first[r].context[s]);
      most = std::max(most, first[r].context[s]);
    }
  }
  EXPECT_GE(least, 100);
  EXPECT_LE(most, 200);
  EXPECT_LT(least, most);  // drawn, not all the same
}

TEST(MakeSequences, PrefillFillsARankWithPromptsAndCutsTheLast) {
  const InferenceWorkload workload{Phase::kPrefill, 1000, {300, 300}, 1, 0, 7};
  for (const RankSequences& rank : make_sequences(workload, 2, 0, {})) {
    EXPECT_THAT(rank.new_tokens, ElementsAre(300, 300, 300, 100));
    EXPECT_EQ(rank.context, rank.new_tokens);
  }
}

TEST(MakeSequences, PrefillDrawsOtherPromptsInEveryStep) {
  const InferenceWorkload workload{Phase::kPrefill, 10'000, {1, 1000}, 2, 0, 7};
  const auto first = make_sequences(workload, 1, 0, {});
  const auto second = make_sequences(workload, 1, 1, {});
  EXPECT_EQ(sum(first[0].new_tokens), 10'000);
  EXPECT_EQ(sum(second[0].new_tokens), 10'000);
  EXPECT_NE(first[0].new_tokens, second[0].new_tokens);
}

TEST(MakeSequences, ARecordedStepHasItsOwnNumberOfTokens) {
  const InferenceWorkload decode{Phase::kDecode, 5, {10, 10}, 1, 0, 7};
  const auto sequences = make_sequences(decode, 3, 4, {2, 0, 1});
  EXPECT_THAT(sequences[0].context, ElementsAre(14, 14));
  EXPECT_THAT(sequences[1].new_tokens, IsEmpty());
  EXPECT_THAT(sequences[2].context, ElementsAre(14));
  const InferenceWorkload prefill{Phase::kPrefill, 5, {10, 10}, 1, 0, 7};
  EXPECT_THAT(make_sequences(prefill, 2, 0, {0, 25})[1].new_tokens, ElementsAre(10, 10, 5));
}

// Decode: a query sees all of its context. Contexts 10 and 20.
TEST(BatchOf, DecodeCountsContexts) {
  const std::vector<RankSequences> ranks = {{{1}, {10}}, {{1}, {20}}, {{1}, {1000}}};
  const TokenBatch batch = batch_of(Phase::kDecode, ranks, 0, 2);
  EXPECT_EQ(batch.phase, Phase::kDecode);
  EXPECT_EQ(batch.tokens, 2);
  EXPECT_EQ(batch.sequences, 2);
  EXPECT_EQ(batch.attended_pairs, 30);
  EXPECT_EQ(batch.kv_tokens_read, 30);
  EXPECT_EQ(batch.max_context, 20);
  EXPECT_EQ(batch.logit_rows, 2);
}

// A prompt of 4: 1 + 2 + 3 + 4 pairs. 3 new tokens after 5 cached ones: 6 + 7 + 8 pairs.
TEST(BatchOf, PrefillCountsPairsOfTheNewTokens) {
  const std::vector<RankSequences> ranks = {{{4, 3}, {4, 8}}};
  const TokenBatch batch = batch_of(Phase::kPrefill, ranks, 0, 1);
  EXPECT_EQ(batch.tokens, 7);
  EXPECT_EQ(batch.attended_pairs, 10 + 21);
  EXPECT_EQ(batch.kv_tokens_read, 12);
  EXPECT_EQ(batch.max_context, 8);
  EXPECT_EQ(batch.logit_rows, 2);
}

TEST(BatchOf, ARankWithoutSequencesIsEmpty) {
  const TokenBatch batch = batch_of(Phase::kDecode, {{{}, {}}}, 0, 1);
  EXPECT_EQ(batch.tokens, 0);
  EXPECT_EQ(batch.sequences, 0);
  EXPECT_EQ(batch.logit_rows, 0);
}

}  // namespace
}  // namespace sim
