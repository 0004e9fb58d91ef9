// A balanced routing near a given one: the same rows, as many on every rank.
#include "sim/app/balanced_routing.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <set>

#include "sim/core/random.h"

namespace sim::testing {
namespace {

using ::testing::ElementsAre;

class Given : public RoutingSource {
 public:
  explicit Given(LayerRouting routing) : routing_(std::move(routing)) {}
  void fill(int, int, LayerRouting& out) override { out = routing_; }
  int experts(int) const override { return routing_.experts; }
  int layers() const override { return 1; }
  ReuseReport reuse() const override { return {}; }
  std::string description() const override { return "given"; }
  std::vector<std::string> warnings() const override { return {}; }

 private:
  LayerRouting routing_;
};

// `tokens` per rank, each with two experts; the low numbers far more often.
LayerRouting skewed(int ranks, int experts, int tokens, bool per_token) {
  LayerRouting out;
  out.ranks = ranks;
  out.experts = experts;
  out.per_token = per_token;
  out.counts.assign(static_cast<std::size_t>(ranks * experts), 0);
  RandomStream random(3, "skew");
  out.rank_begin = {0};
  out.choice_begin = {0};
  for (int r = 0; r < ranks; ++r) {
    for (int t = 0; t < tokens; ++t) {
      const int a = static_cast<int>(random.below(
          static_cast<std::uint64_t>(1 + random.below(static_cast<std::uint64_t>(experts)))));
      const int b =
          (a + 1 + static_cast<int>(random.below(static_cast<std::uint64_t>(experts - 1)))) %
          experts;
      for (const int e : {a, b}) {
        out.choices.push_back(static_cast<std::uint16_t>(e));
        ++out.counts[static_cast<std::size_t>(r * experts + e)];
      }
      out.choice_begin.push_back(static_cast<std::int64_t>(out.choices.size()));
    }
    out.rank_begin.push_back(static_cast<std::int64_t>((r + 1) * tokens));
  }
  return out;
}

std::vector<std::int64_t> rows_per_expert(const LayerRouting& routing, int first, int end) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(routing.experts), 0);
  for (int r = first; r < end; ++r) {
    for (int e = 0; e < routing.experts; ++e)
      rows[static_cast<std::size_t>(e)] +=
          routing.counts[static_cast<std::size_t>(r * routing.experts + e)];
  }
  return rows;
}

ExpertPlacement in_order(int experts, int ranks) {
  std::vector<ExpertId> slots;
  for (int e = 0; e < experts; ++e) slots.emplace_back(e);
  return make_placement(experts, ranks, slots);
}

TEST(BalancedRows, InProportionWithWhatIsLeftToTheLargestParts) {
  const std::vector<double> even{1, 1, 1};
  EXPECT_THAT(balanced_rows(std::vector<std::int64_t>{9, 0, 0}, even), ElementsAre(3, 3, 3));
  // One row left over: where most are now, so that what is balanced stays.
  EXPECT_THAT(balanced_rows(std::vector<std::int64_t>{3, 4, 3}, even), ElementsAre(3, 4, 3));
  const std::vector<double> twice{2, 1, 1};
  EXPECT_THAT(balanced_rows(std::vector<std::int64_t>{0, 5, 3}, twice), ElementsAre(4, 2, 2));
}

TEST(BalancedRouting, EveryRankOfEveryGroupHasAsManyRowsAndATokenKeepsDistinctExperts) {
  const LayerRouting before = skewed(8, 16, 40, true);
  Given given(before);
  const std::vector<ExpertPlacement> placements{in_order(16, 4)};
  const ParallelLayout layout = derive_layout({.tp = 1, .dp = 8, .ep = 4, .edp = 2}, 8);
  BalancedRouting balanced(given, placements, layout, std::vector<int>(8, 0));
  LayerRouting after;
  balanced.fill(0, 0, after);
  for (const int group : {0, 1})
    EXPECT_THAT(rows_per_expert(after, 4 * group, 4 * group + 4), ::testing::Each(20));
  EXPECT_EQ(after.rank_begin, before.rank_begin);
  EXPECT_EQ(after.choice_begin, before.choice_begin);
  std::vector<std::int64_t> counted(before.counts.size(), 0);
  for (int r = 0; r < 8; ++r) {
    for (std::int64_t t = after.rank_begin[static_cast<std::size_t>(r)];
         t < after.rank_begin[static_cast<std::size_t>(r) + 1]; ++t) {
      const std::size_t c = static_cast<std::size_t>(2 * t);
      EXPECT_NE(after.choices[c], after.choices[c + 1]);
      for (const std::size_t i : {c, c + 1})
        ++counted[static_cast<std::size_t>(r) * 16 + after.choices[i]];
    }
  }
  EXPECT_EQ(counted, after.counts);
}

TEST(BalancedRouting, CountsAloneKeepEachSourcesRows) {
  const LayerRouting before = skewed(4, 8, 100, false);
  Given given(before);
  const std::vector<ExpertPlacement> placements{in_order(8, 4)};
  const ParallelLayout layout = derive_layout({.tp = 1, .dp = 4, .ep = 4, .edp = 1}, 4);
  BalancedRouting balanced(given, placements, layout, std::vector<int>(4, 0));
  LayerRouting after;
  balanced.fill(0, 0, after);
  EXPECT_THAT(rows_per_expert(after, 0, 4), ::testing::Each(100));
  for (int r = 0; r < 4; ++r) {
    const auto sum = [r](const LayerRouting& of) {
      return std::accumulate(of.counts.begin() + r * 8, of.counts.begin() + r * 8 + 8,
                             std::int64_t{0});
    };
    EXPECT_EQ(sum(after), sum(before));
  }
  EXPECT_EQ(*std::min_element(after.counts.begin(), after.counts.end()) >= 0, true);
}

TEST(BalancedRouting, WhatIsBalancedIsLeftAlone) {
  Given skew(skewed(4, 8, 64, true));
  const std::vector<ExpertPlacement> placements{in_order(8, 4)};
  const ParallelLayout layout = derive_layout({.tp = 1, .dp = 4, .ep = 4, .edp = 1}, 4);
  BalancedRouting once(skew, placements, layout, std::vector<int>(4, 0));
  LayerRouting first;
  once.fill(0, 0, first);
  Given given(first);
  BalancedRouting twice(given, placements, layout, std::vector<int>(4, 0));
  LayerRouting second;
  twice.fill(0, 0, second);
  EXPECT_EQ(first.choices, second.choices);
}

}  // namespace
}  // namespace sim::testing
