#include "traces/metrics/caches.h"

#include <gtest/gtest.h>

#include "tests/traces/metric_tokens.h"

namespace sim {
namespace {

using testing::make_tokens;
using testing::random_tokens;

double rate(const testing::MetricTokens& trace, CacheRule rule, int size, int window = 1) {
  return cache_hit_rate(trace.tokens, trace.sequences, rule, size, window);
}

// Experts 0 1 2 0 1 0, a cache of 2, cold at first.
//   lru     misses 0, 1, 2 (out 0), 0 (out 1), 1 (out 2), hits 0: 1 of 6
//   lfu     misses 0, 1, 2 (all used once, 0 longest ago: out), 0 (out 1), 1 (0 has 2 uses, 2 one:
//           out 2), hits 0: 1 of 6
//   belady  misses 0, 1, 2 (next uses: 0 at 3, 1 at 4: out 1), hits 0, misses 1 (out 2), hits 0
//   fixed   0 and 1 hold 3 + 2 of 6
//   segment, window 3: at the miss of 2 the window is 2 0 1: 0 and 1 once each, 0 longest ago: out
//           0. The miss of 0 (window 0 1 0): 1 once, 2 never: out 2. Hit 1, hit 0.
TEST(Caches, MatchHandComputedHits) {
  const auto trace = make_tokens(3, 1, {{{0}, {1}, {2}, {0}, {1}, {0}}});
  EXPECT_DOUBLE_EQ(rate(trace, CacheRule::kLru, 2), 1.0 / 6);
  EXPECT_DOUBLE_EQ(rate(trace, CacheRule::kLfu, 2), 1.0 / 6);
  EXPECT_DOUBLE_EQ(rate(trace, CacheRule::kBelady, 2), 2.0 / 6);
  EXPECT_DOUBLE_EQ(rate(trace, CacheRule::kFixed, 2), 5.0 / 6);
  EXPECT_DOUBLE_EQ(rate(trace, CacheRule::kSegment, 2, 3), 2.0 / 6);
}

TEST(Caches, StartEmptyInEveryRequest) {
  const auto trace = make_tokens(2, 1, {{{0}, {0}}, {{0}, {0}}});
  EXPECT_DOUBLE_EQ(rate(trace, CacheRule::kLru, 1), 0.5);
  EXPECT_DOUBLE_EQ(rate(trace, CacheRule::kBelady, 1), 0.5);
}

TEST(Caches, NoRuleBeatsBeladyAndALongWindowComesNear) {
  for (const std::uint64_t seed : {4U, 5U}) {
    const auto trace = random_tokens(12, 2, {60, 3, 90}, seed);
    for (const int size : {2, 4, 8}) {
      const double belady = rate(trace, CacheRule::kBelady, size);
      EXPECT_LE(rate(trace, CacheRule::kLru, size), belady);
      EXPECT_LE(rate(trace, CacheRule::kLfu, size), belady);
      EXPECT_LE(rate(trace, CacheRule::kSegment, size, 4), belady);
      EXPECT_GT(rate(trace, CacheRule::kSegment, size, 4), rate(trace, CacheRule::kLru, size));
    }
  }
}

TEST(Caches, OfAllExpertsMissOnlyTheFirstUse) {
  const auto trace = random_tokens(6, 2, {50}, 9);
  for (const CacheRule rule : {CacheRule::kLru, CacheRule::kLfu, CacheRule::kBelady}) {
    EXPECT_DOUBLE_EQ(rate(trace, rule, 6), 94.0 / 100);
  }
}

}  // namespace
}  // namespace sim
