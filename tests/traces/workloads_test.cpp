#include "traces/synthetic/workloads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "tests/traces/temp_file.h"

namespace sim {
namespace {

using testing::error_text;

constexpr std::uint64_t kSeed = 7;

WorkloadSpec spec_of(Workload workload, int ranks) {
  WorkloadSpec spec;
  spec.workload = workload;
  spec.expert_ranks = ranks;
  return spec;
}

// Rows per expert of one (step, layer), every rank bringing `tokens`.
std::vector<std::int64_t> rows(const WorkloadSpec& spec, int experts, int top_k,
                               std::vector<std::int64_t> tokens, int step = 0, int layer = 0) {
  LayerRouting out;
  const auto source = make_workload(spec, std::vector<int>(4, experts), top_k, tokens, kSeed);
  source->fill(step, layer, out);
  std::vector<std::int64_t> result(static_cast<std::size_t>(experts), 0);
  for (std::size_t i = 0; i < out.counts.size(); ++i) result[i % result.size()] += out.counts[i];
  return result;
}

using Rows = std::vector<std::int64_t>;

double max_over_mean(const Rows& values) {
  return static_cast<double>(*std::max_element(values.begin(), values.end())) *
         static_cast<double>(values.size()) /
         static_cast<double>(std::accumulate(values.begin(), values.end(), std::int64_t{0}));
}

// 8 experts on 4 ranks, top-2, 4 ranks with 16 tokens: 128 rows, 16 per expert. Hot are
// max(2, 8 / 4) = 2 experts, three tokens of four: 48 tokens take both hot ones, 16 tokens take 2
// of 8, 4 each. So a hot expert has 48 + 4 = 52 rows, 3.25 times the mean.
TEST(Workloads, RowsByHand) {
  const std::vector<std::int64_t> tokens(4, 16);
  EXPECT_EQ(rows(spec_of(Workload::kBalanced, 4), 8, 2, tokens), Rows(8, 16));
  EXPECT_EQ(rows(spec_of(Workload::kHotRank, 4), 8, 2, tokens), (Rows{52, 52, 4, 4, 4, 4, 4, 4}));
  WorkloadSpec other = spec_of(Workload::kHotRank, 4);
  other.rank = 2;
  EXPECT_EQ(rows(other, 8, 2, tokens), (Rows{4, 4, 4, 4, 52, 52, 4, 4}));
  // The same heat on the first experts of ranks 0 and 2.
  EXPECT_EQ(rows(spec_of(Workload::kSpreadHot, 4), 8, 2, tokens), (Rows{52, 4, 4, 4, 52, 4, 4, 4}));
  // Ranks 0 and 1 hold experts 0 to 3: the others share 128 rows.
  EXPECT_EQ(rows(spec_of(Workload::kZeroLoadRank, 4), 8, 2, tokens),
            (Rows{0, 0, 0, 0, 32, 32, 32, 32}));
  // Two experts drawn for each layer; the same in every step.
  const WorkloadSpec set = spec_of(Workload::kHotExpertSet, 4);
  std::set<Rows> seen;
  for (int layer = 0; layer < 4; ++layer) {
    Rows got = rows(set, 8, 2, tokens, 0, layer);
    EXPECT_EQ(rows(set, 8, 2, tokens, 9, layer), got);
    seen.insert(got);
    std::sort(got.begin(), got.end());
    EXPECT_EQ(got, (Rows{4, 4, 4, 4, 4, 4, 52, 52})) << layer;
  }
  EXPECT_GT(seen.size(), 1u);
}

TEST(Workloads, TheHotspotRotatesAndTheBurstComesAndGoes) {
  const std::vector<std::int64_t> tokens(4, 16);
  const WorkloadSpec rotating = spec_of(Workload::kRotatingHotspot, 4);
  for (const int step : {0, 1, 2}) {
    EXPECT_EQ(rows(rotating, 8, 2, tokens, step), (Rows{52, 52, 4, 4, 4, 4, 4, 4})) << step;
  }
  EXPECT_EQ(rows(rotating, 8, 2, tokens, 3), (Rows{4, 4, 52, 52, 4, 4, 4, 4}));
  EXPECT_EQ(rows(rotating, 8, 2, tokens, 11), (Rows{4, 4, 4, 4, 4, 4, 52, 52}));
  EXPECT_EQ(rows(rotating, 8, 2, tokens, 12), (Rows{52, 52, 4, 4, 4, 4, 4, 4}));
  // One token of two: 32 take both hot experts, 32 take 2 of 8, 8 each.
  const WorkloadSpec burst = spec_of(Workload::kBurst, 4);
  for (const int step : {0, 1, 2, 4, 5, 6, 8}) {
    EXPECT_EQ(rows(burst, 8, 2, tokens, step), Rows(8, 16)) << step;
  }
  Rows got = rows(burst, 8, 2, tokens, 3);
  EXPECT_EQ(rows(burst, 8, 2, tokens, 7), got);
  std::sort(got.begin(), got.end());
  EXPECT_EQ(got, (Rows{8, 8, 8, 8, 8, 8, 40, 40}));
}

// 1.5 times 10 tokens on the first rank, then 5/3 fewer a rank: 15, 13.33, 11.67, ... 5.
TEST(Workloads, RaggedTokensFallOnALineAndKeepTheirSum) {
  const WorkloadSpec spec = spec_of(Workload::kSourceRagged, 4);
  EXPECT_EQ(tokens_of_ranks(spec, Rows(7, 10)), (Rows{15, 13, 12, 10, 8, 7, 5}));
  WorkloadSpec steep = spec;
  steep.intensity = 2;
  EXPECT_EQ(tokens_of_ranks(steep, Rows(3, 10)), (Rows{20, 10, 0}));
  const auto source = make_workload(spec, {8}, 2, Rows(4, 16), kSeed);
  LayerRouting out;
  source->fill(0, 0, out);
  // 24, 18.67, 13.33, 8 tokens of 2 rows, and every expert alike.
  EXPECT_EQ(out.rank_begin, (Rows{0, 24, 43, 56, 64}));
  EXPECT_EQ(rows(spec, 8, 2, Rows(4, 16)), Rows(8, 16));
}

// The intensity that is asked for is met, but for whole rows: the fullest expert's share of hot and
// of other decks is rounded up, two rows at most. At any top-k, also above the hot experts, and as
// counts too.
TEST(Workloads, TheStatedImbalanceIsMet) {
  struct Shape {
    int experts, top_k, ranks;
  };
  for (const Shape shape :
       {Shape{256, 8, 32}, {64, 6, 8}, {128, 1, 16}, {60, 4, 8}, {256, 8, 64}}) {
    for (const NamedWorkload& each : kNamedWorkloads) {
      for (const double share : {0.25, 0.5, 1.0, -1.0}) {  // of the way to the most; -1: default
        WorkloadSpec spec = spec_of(each.workload, shape.ranks);
        if (share >= 0 && each.has("intensity")) {
          double most = 2;
          if (each.workload != Workload::kSourceRagged) {
            const double hot = resolve(spec, shape.experts, shape.top_k).hot_experts;
            most = std::min(shape.experts / hot, 1.0 * shape.experts / shape.top_k);
          }
          spec.intensity = 1 + share * (most - 1);
        }
        const ResolvedWorkload resolved = resolve(spec, shape.experts, shape.top_k);
        for (const std::int64_t budget : {std::int64_t{1} << 22, std::int64_t{0}}) {
          spec.token_budget = budget;
          const Rows tokens(static_cast<std::size_t>(shape.ranks), 50);
          for (const int step : {0, 3, 64}) {
            const Rows got = rows(spec, shape.experts, shape.top_k, tokens, step);
            const double mean = 50.0 * shape.ranks * shape.top_k / shape.experts;
            EXPECT_NEAR(max_over_mean(got), resolved.expert_max_over_mean(step), 2.5 / mean)
                << each.name << " " << shape.experts << " " << share << " " << budget;
          }
          if (each.workload == Workload::kSourceRagged) {
            EXPECT_NEAR(max_over_mean(tokens_of_ranks(spec, tokens)), resolved.intensity, 0.02);
          }
        }
      }
    }
  }
}

// Both forms: choices distinct, counts of the choices, and the same for the same arguments.
TEST(Workloads, TokensAreWholeAndRepeatable) {
  for (const NamedWorkload& each : kNamedWorkloads) {
    for (const int ranks : {3, 16}) {  // with 16, a rank holds fewer experts than a token takes
      const WorkloadSpec spec = spec_of(each.workload, ranks);
      const Rows tokens(static_cast<std::size_t>(ranks), 13);
      const auto source = make_workload(spec, {20, 20}, 5, tokens, kSeed);
      const auto again = make_workload(spec, {20, 20}, 5, tokens, kSeed);
      LayerRouting out, same;
      again->fill(2, 1, same);
      source->fill(2, 1, out);
      source->fill(3, 1, out);  // what came before does not matter
      again->fill(3, 1, same);
      EXPECT_EQ(out.choices, same.choices);
      ASSERT_EQ(out.tokens(), 13 * ranks);
      Rows counted(static_cast<std::size_t>(ranks) * 20, 0);
      for (int rank = 0; rank < ranks; ++rank) {
        const auto r = static_cast<std::size_t>(rank);
        for (std::int64_t t = out.rank_begin[r]; t < out.rank_begin[r + 1]; ++t) {
          std::set<int> distinct;
          for (std::size_t i = 0; i < 5; ++i) {
            const std::uint16_t e = out.choices[static_cast<std::size_t>(t) * 5 + i];
            distinct.insert(e);
            ++counted[r * 20 + e];
          }
          EXPECT_EQ(distinct.size(), 5u) << each.name;
        }
      }
      EXPECT_EQ(out.counts, counted) << each.name;
    }
  }
}

// Counted steps: every rank's choices are all there, and no expert has more than a row per token.
TEST(Workloads, CountsAddUp) {
  for (const NamedWorkload& each : kNamedWorkloads) {
    WorkloadSpec spec = spec_of(each.workload, 4);
    spec.token_budget = 0;
    // Ragged ranks are made so from ranks that are alike.
    const Rows tokens = each.workload == Workload::kSourceRagged ? Rows(4, 27) : Rows{0, 1, 7, 100};
    const auto source = make_workload(spec, {20}, 5, tokens, kSeed);
    for (int step = 0; step < 4; ++step) {
      LayerRouting out;
      source->fill(step, 0, out);
      EXPECT_FALSE(out.per_token);
      for (int rank = 0; rank < 4; ++rank) {
        const auto begin = out.counts.begin() + rank * 20;
        EXPECT_EQ(std::accumulate(begin, begin + 20, std::int64_t{0}), 5 * out.tokens_of(rank))
            << each.name;
        EXPECT_LE(*std::max_element(begin, begin + 20), out.tokens_of(rank)) << each.name;
      }
    }
  }
}

TEST(Workloads, SeedsDrawOtherTokens) {
  for (const NamedWorkload& each : kNamedWorkloads) {
    const WorkloadSpec spec = spec_of(each.workload, 4);
    const auto one = make_workload(spec, {20}, 5, Rows(4, 10), 1);
    const auto two = make_workload(spec, {20}, 5, Rows(4, 10), 2);
    LayerRouting a, b;
    one->fill(0, 0, a);
    two->fill(0, 0, b);
    EXPECT_NE(a.choices, b.choices) << each.name;
  }
}

TEST(Workloads, BlocksOfRanksDifferByOne) {
  EXPECT_EQ(block_of_rank(8, 3, 0).size, 3);
  EXPECT_EQ(block_of_rank(8, 3, 1).first, 3);
  EXPECT_EQ(block_of_rank(8, 3, 2).first, 6);
  EXPECT_EQ(block_of_rank(8, 3, 2).size, 2);
}

TEST(Workloads, WhatCannotBeIsRefusedWithWhatCan) {
  const auto refused = [](const WorkloadSpec& spec, int experts = 32, int top_k = 4) {
    return error_text([&] { make_workload(spec, {experts}, top_k, Rows(4, 8), kSeed); });
  };
  WorkloadSpec hot = spec_of(Workload::kHotRank, 8);
  hot.intensity = 9;
  EXPECT_EQ(refused(hot),
            "hot-rank cannot have intensity 9: with 32 experts, top-4 and 4 hot ones it is 1 to 8; "
            "the fullest expert has at most every token, and the hot ones at most every row");
  EXPECT_EQ(refused(spec_of(Workload::kHotRank, 1)),
            "hot-rank needs an expert-parallel degree of at least 2; one rank holds every expert");
  WorkloadSpec set = spec_of(Workload::kHotExpertSet, 8);
  set.hot_experts = 33;
  EXPECT_EQ(refused(set),
            "33 of 32 experts cannot be hot; hot_experts is 1 to the number of experts");
  WorkloadSpec idle = spec_of(Workload::kZeroLoadRank, 8);
  idle.idle_ranks = 8;
  EXPECT_EQ(
      refused(idle),
      "8 of 8 ranks cannot be idle; idle_ranks is 1 to one less than the expert-parallel degree");
  idle.idle_ranks = 7;
  EXPECT_EQ(refused(idle, 16, 4),
            "7 idle ranks of 8 leave 2 of 16 experts, and a token takes 4; lower idle_ranks");
  WorkloadSpec ragged = spec_of(Workload::kSourceRagged, 8);
  ragged.intensity = 2.5;
  EXPECT_EQ(refused(ragged),
            "source-ragged cannot have intensity 2.5; 1 to 2: on a line the last rank has 2 - "
            "intensity times the mean");
}

}  // namespace
}  // namespace sim
