#include "traces/gating/overflow.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "sim/core/random.h"
#include "tests/traces/temp_file.h"

namespace sim {
namespace {

using ::testing::ElementsAre;
using testing::error_text;

// Tokens as lists of experts, on ranks.
LayerRouting routing_of(int experts, const std::vector<std::vector<std::vector<int>>>& ranks) {
  LayerRouting routing;
  routing.ranks = static_cast<int>(ranks.size());
  routing.experts = experts;
  routing.rank_begin = {0};
  routing.choice_begin = {0};
  routing.counts.assign(ranks.size() * static_cast<std::size_t>(experts), 0);
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    for (const std::vector<int>& token : ranks[r]) {
      for (const int e : token) {
        routing.choices.push_back(static_cast<std::uint16_t>(e));
        ++routing.counts[r * static_cast<std::size_t>(experts) + static_cast<std::size_t>(e)];
      }
      routing.choice_begin.push_back(static_cast<std::int64_t>(routing.choices.size()));
    }
    routing.rank_begin.push_back(routing.rank_begin.back() +
                                 static_cast<std::int64_t>(ranks[r].size()));
  }
  return routing;
}

CapacityRule fixed(double factor, CapacityScope scope = CapacityScope::kPerSourceRank) {
  CapacityRule rule;
  rule.kind = CapacityKind::kFixed;
  rule.factor = factor;
  rule.scope = scope;
  return rule;
}

// 1.25 * 2 * 10 / 4 = 6.25 -> 7; 1.0 * 1 * 12 / 4 = 3 stays 3; 1.1 * 1 * 100 / 10 = 11, although
// the product in doubles is 11.000000000000002.
TEST(ExpertCapacity, RoundsUpOnce) {
  EXPECT_EQ(expert_capacity(1.25, 10, 2, 4), 7);
  EXPECT_EQ(expert_capacity(1.0, 12, 1, 4), 3);
  EXPECT_EQ(expert_capacity(1.1, 100, 1, 10), 11);
  EXPECT_EQ(expert_capacity(1.5, 0, 2, 4), 0);
}

// 4 tokens, 2 experts, top-1, factor 1: capacity 2. Expert 0 is chosen by tokens 0, 1, 3: token 3
// comes last and has no other expert.
TEST(Overflow, TokenOrderDropsTheLast) {
  const LayerRouting routing = routing_of(2, {{{0}, {0}, {1}, {0}}});
  const CapacityResult got = apply_capacity(view_of(routing), 1, fixed(1));
  EXPECT_THAT(got.capacity, ElementsAre(2));
  EXPECT_THAT(got.dropped, ElementsAre(0, 0, 0, 1));
  EXPECT_THAT(got.kept, ElementsAre(2, 1));
  EXPECT_EQ(got.dropped_choices, 1);
  EXPECT_EQ(got.tokens_without_expert, 1);
}

// The same with weights .3 .9 .5 .6: by score tokens 1 and 3 keep expert 0 and token 0 loses it.
TEST(Overflow, ScoreKeepsTheHighest) {
  const LayerRouting routing = routing_of(2, {{{0}, {0}, {1}, {0}}});
  CapacityRule rule = fixed(1);
  rule.priority = OverflowPriority::kScore;
  const std::vector<float> weights = {0.3F, 0.9F, 0.5F, 0.6F};
  EXPECT_THAT(apply_capacity(view_of(routing, weights), 1, rule).dropped, ElementsAre(1, 0, 0, 0));
  EXPECT_EQ(error_text([&] { apply_capacity(view_of(routing), 1, rule); }),
            "overflow by score needs gate weights, and this routing has none; use priority: order, "
            "or a trace with gate weights");
}

// Top-2 of 3 experts, 3 tokens, factor 0.5: capacity ceil(0.5 * 2 * 3 / 3) = 1. First choices
// first: token 0 takes expert 0, token 1 expert 1, token 2 finds 0 full. Then the second choices:
// token 0 wants 1 (full), token 1 wants 2 (taken), token 2 wants 1 (full): token 2 has none left.
TEST(Overflow, FirstChoicesComeBeforeSecondChoices) {
  const LayerRouting routing = routing_of(3, {{{0, 1}, {1, 2}, {0, 1}}});
  const CapacityResult got = apply_capacity(view_of(routing), 2, fixed(0.5));
  EXPECT_THAT(got.dropped, ElementsAre(0, 1, 0, 0, 1, 1));
  EXPECT_EQ(got.tokens_without_expert, 1);
  const LayerRouting left = without_dropped(routing, got);
  EXPECT_THAT(left.choices, ElementsAre(0, 1, 2));
  EXPECT_THAT(left.choice_begin, ElementsAre(0, 1, 3, 3));
  EXPECT_THAT(left.counts, ElementsAre(1, 1, 1));
}

// Two ranks of two tokens, all on expert 0 of 2, factor 1, top-1. Together: capacity 2 of 4, so
// rank 1 keeps nothing. Per rank: capacity 1 each.
TEST(Overflow, ScopeDecidesWhoLoses) {
  const LayerRouting routing = routing_of(2, {{{0}, {0}}, {{0}, {0}}});
  EXPECT_THAT(apply_capacity(view_of(routing), 1, fixed(1, CapacityScope::kTogether)).kept,
              ElementsAre(2, 0, 0, 0));
  const CapacityResult each = apply_capacity(view_of(routing), 1, fixed(1));
  EXPECT_THAT(each.kept, ElementsAre(1, 0, 1, 0));
  EXPECT_THAT(each.capacity, ElementsAre(1, 1));
}

// The fullest of 2 experts has 3 of 4 top-1 choices: the least factor is 3 * 2 / 4 = 1.5. A cap of
// 1.25 gives ceil(1.25 * 4 / 2) = 3 rows, which still drops nothing; a cap of 1 gives 2.
TEST(Overflow, AdaptiveTakesTheLeastFactor) {
  const LayerRouting routing = routing_of(2, {{{0}, {0}, {1}, {0}}});
  CapacityRule rule;
  rule.kind = CapacityKind::kAdaptive;
  CapacityResult got = apply_capacity(view_of(routing), 1, rule);
  EXPECT_THAT(got.factor, ElementsAre(1.5));
  EXPECT_THAT(got.capacity, ElementsAre(3));
  EXPECT_EQ(got.dropped_choices, 0);
  rule.cap = 1.25;
  EXPECT_EQ(apply_capacity(view_of(routing), 1, rule).dropped_choices, 0);
  rule.cap = 1;
  EXPECT_EQ(apply_capacity(view_of(routing), 1, rule).dropped_choices, 1);
}

TEST(Overflow, DroplessDropsNothing) {
  const LayerRouting routing = routing_of(2, {{{0}, {0}, {0}, {0}}});
  const CapacityResult got = apply_capacity(view_of(routing), 1, {});
  EXPECT_TRUE(got.capacity.empty());
  EXPECT_THAT(got.kept, ElementsAre(4, 0));
}

TEST(Overflow, RefusesAFactorThatIsNone) {
  EXPECT_EQ(error_text([] { check_capacity(fixed(0)); }),
            "a capacity factor of 0; it is above 0 and at most 1e6; 'dropless' has no capacity");
}

LayerRouting random_routing(std::uint64_t seed) {
  RandomStream random(seed, "test");
  std::vector<std::vector<std::vector<int>>> ranks(3);
  for (auto& rank : ranks) {
    rank.resize(20 + random.below(30));
    for (auto& token : rank) {
      std::vector<int> experts(8);
      std::iota(experts.begin(), experts.end(), 0);
      random.shuffle(experts);
      token.assign(experts.begin(), experts.begin() + static_cast<long>(random.below(4)));
      for (int& e : token) e = static_cast<int>(random.below(2)) == 0 ? e : e / 2 * 2;
      if (token.size() > 1 && token[0] == token[1]) token.resize(1);
    }
  }
  return routing_of(8, ranks);
}

// Kept and dropped add up, no expert passes its capacity, a greater factor drops no more, the
// number dropped does not depend on the priority, and counts alone give the same numbers.
TEST(Overflow, Properties) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const LayerRouting routing = random_routing(seed);
    RandomStream random(seed, "weights");
    std::vector<float> weights(routing.choices.size());
    for (float& w : weights) w = static_cast<float>(random.uniform());
    std::vector<std::int64_t> tokens;
    for (int r = 0; r < routing.ranks; ++r) tokens.push_back(routing.tokens_of(r));
    for (const CapacityScope scope : {CapacityScope::kTogether, CapacityScope::kPerSourceRank}) {
      std::int64_t before = routing.tokens() * 4;
      for (const double factor : {0.25, 0.5, 1.0, 1.5, 4.0}) {
        CapacityRule rule = fixed(factor, scope);
        const CapacityResult order = apply_capacity(view_of(routing), 3, rule);
        rule.priority = OverflowPriority::kScore;
        const CapacityResult score = apply_capacity(view_of(routing, weights), 3, rule);
        EXPECT_EQ(order.dropped_choices, score.dropped_choices);
        EXPECT_EQ(std::accumulate(order.kept.begin(), order.kept.end(), std::int64_t{0}) +
                      order.dropped_choices,
                  order.choices);
        EXPECT_LE(order.dropped_choices, before);
        before = order.dropped_choices;
        const CountCapacity counted = apply_capacity_to_counts(routing.counts, 8, tokens, 3, rule);
        EXPECT_EQ(counted.dropped_choices, order.dropped_choices);
        EXPECT_EQ(counted.capacity, order.capacity);
        if (scope == CapacityScope::kPerSourceRank) {
          EXPECT_EQ(counted.kept, order.kept);
          for (std::size_t i = 0; i < order.kept.size(); ++i)
            EXPECT_LE(order.kept[i], order.capacity[i / 8]);
        } else if (counted.dropped_choices > 0) {
          EXPECT_TRUE(counted.kept.empty());
        }
      }
    }
  }
}

}  // namespace
}  // namespace sim
