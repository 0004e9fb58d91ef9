#include "traces/metrics/srp.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/traces/metric_tokens.h"

namespace sim {
namespace {

using testing::make_tokens;
using testing::random_tokens;

// One request of 4 tokens, top-1: experts 0 0 1 0. Windows of 2: {0,0} {0,1} {1,0}.
// Expert 0: f = 2, 1, 1; act 4. Threshold 2: pred 2, TP 2, F1 = 4/6. Threshold 1: pred 6, TP 4,
// F1 = 8/10 (threshold 0 selects the same windows). So 0.8 with threshold 0, predicted/act = 6/4.
// Expert 1: f = 0, 1, 1; act 2. Threshold 1: pred 4, TP 2, F1 = 4/6. Threshold 0: pred 6, 4/8.
// Group: act 6. Threshold 2: pred 2, TP 2, F1 = 4/8; 1: pred 10, TP 6, F1 = 12/16; 0: 12, 12/18.
TEST(Srp, MatchesAHandComputedRequest) {
  const auto trace = make_tokens(2, 1, {{{0}, {0}, {1}, {0}}});
  const auto windows = window_histograms(trace.tokens, trace.sequences, 2);
  EXPECT_EQ(windows[0], (WindowHistogram{0, 2, 1}));
  EXPECT_EQ(windows[1], (WindowHistogram{1, 2, 0}));
  const Srp first = best_srp(windows[0]);
  EXPECT_DOUBLE_EQ(first.f1, 0.8);
  EXPECT_EQ(first.threshold, 0);
  EXPECT_DOUBLE_EQ(first.predicted_over_active, 1.5);
  EXPECT_DOUBLE_EQ(best_srp(windows[1]).f1, 4.0 / 6);
  const Srp group = best_srp(sum_histograms(windows));
  EXPECT_DOUBLE_EQ(group.f1, 0.75);
  EXPECT_EQ(group.threshold, 1);
  EXPECT_DOUBLE_EQ(group.predicted_over_active, 10.0 / 6);
}

// The definition, word for word: every window, every threshold, every expert.
double slow_group_srp(const LayerTokens& tokens, const Sequences& sequences, int m) {
  double best = 0;
  for (int threshold = 0; threshold <= m; ++threshold) {
    double hits = 0;
    double pred = 0;
    double act = 0;
    for (std::size_t s = 0; s + 1 < sequences.begin.size(); ++s) {
      for (std::int64_t start = sequences.begin[s]; start + m <= sequences.begin[s + 1]; ++start) {
        for (int expert = 0; expert < tokens.experts; ++expert) {
          int f = 0;
          for (std::int64_t t = start; t < start + m; ++t) {
            f += static_cast<int>(std::ranges::count(tokens.of(t), expert));
          }
          act += f;
          if (f >= threshold) {
            pred += m;
            hits += f;
          }
        }
      }
    }
    if (pred + act > 0) best = std::max(best, 2 * hits / (pred + act));
  }
  return best;
}

TEST(Srp, EqualsTheSlowDefinitionOnRandomTokens) {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    const auto trace = random_tokens(7, 3, {1, 5, 40, 16}, seed);
    for (const int m : {1, 2, 5, 16}) {
      const auto windows = window_histograms(trace.tokens, trace.sequences, m);
      EXPECT_DOUBLE_EQ(best_srp(sum_histograms(windows)).f1,
                       slow_group_srp(trace.tokens, trace.sequences, m))
          << "m " << m << " seed " << seed;
    }
  }
}

TEST(Srp, IsOneWhenTokensNeverChange) {
  const auto trace = make_tokens(4, 2, {{{1, 3}, {1, 3}, {3, 1}, {1, 3}}});
  const Srp srp = best_srp(sum_histograms(window_histograms(trace.tokens, trace.sequences, 3)));
  EXPECT_DOUBLE_EQ(srp.f1, 1);
  EXPECT_DOUBLE_EQ(srp.predicted_over_active, 1);
}

// Uniform independent tokens, top-4 of 60: f is binomial(16, 1/15). Threshold 2: P(f >= 2) =
// 0.2896, E[f; f >= 2] = 0.6877, F1 = 2 x 0.6877 / (16 x 0.2895 + 1.0667) = 0.2414; thresholds 1
// and 3 give 0.181 and 0.229.
TEST(Srp, OfIndependentTokensIsWhatTheBinomialGives) {
  const auto trace = random_tokens(60, 4, {20000}, 5);
  const Srp srp = best_srp(sum_histograms(window_histograms(trace.tokens, trace.sequences, 16)));
  EXPECT_EQ(srp.threshold, 2);
  EXPECT_NEAR(srp.f1, 0.2414, 0.003);
}

TEST(Srp, HasNothingToSayWithoutAWindow) {
  const auto trace = make_tokens(2, 1, {{{0}, {1}}, {{1}}});
  EXPECT_EQ(best_srp(sum_histograms(window_histograms(trace.tokens, trace.sequences, 3))).f1, 0);
}

}  // namespace
}  // namespace sim
