#include "traces/synthetic/synthetic.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>

#include "tests/traces/temp_file.h"
#include "traces/statistics.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

using testing::error_text;
using testing::TempFile;

// Weights 3, 2, 1, two of three drawn. P(expert 0) = 3/6 + 2/6 * 3/4 + 1/6 * 3/5 = 0.85;
// P(1) = 2/6 + 3/6 * 2/3 + 1/6 * 2/5 = 0.7333; P(2) = 1/6 + 3/6 * 1/3 + 2/6 * 1/4 = 0.41667.
TEST(Popularity, InclusionMatchesSuccessiveSamplingByHand) {
  const std::vector<double> got = inclusion_probabilities(std::vector<double>{3, 2, 1}, 2);
  EXPECT_NEAR(got[0], 0.85, 1e-7);
  EXPECT_NEAR(got[1], 11.0 / 15, 1e-7);
  EXPECT_NEAR(got[2], 5.0 / 12, 1e-7);
}

TEST(Popularity, InclusionOfOneDrawIsTheShareOfTheWeights) {
  const std::vector<double> weights = zipf_weights(300, 1.3);
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  const std::vector<double> got = inclusion_probabilities(weights, 1);
  for (std::size_t e = 0; e < weights.size(); ++e) {
    EXPECT_NEAR(got[e] * sum / weights[e], 1, 1e-7) << e;
  }
}

TEST(Popularity, InclusionOfUniformAndOfAll) {
  for (const double p : inclusion_probabilities(zipf_weights(64, 0), 8)) {
    EXPECT_NEAR(p, 0.125, 1e-9);
  }
  for (const double p : inclusion_probabilities(zipf_weights(8, 2), 8)) EXPECT_EQ(p, 1);
}

// The drawn tokens agree with the quadrature: each count is binomial, 5 standard deviations.
TEST(Popularity, DrawnTokensHaveTheInclusionProbabilities) {
  for (const double exponent : {0.0, 0.8, 2.5}) {
    const std::vector<double> weights = zipf_weights(48, exponent);
    const std::vector<double> expected = inclusion_probabilities(weights, 6);
    TokenDraw draw(weights, 6, std::nullopt);
    RandomStream random(11, "test");
    constexpr int kTokens = 200000;
    std::vector<double> counts(48, 0);
    std::array<std::uint16_t, 6> chosen{};
    for (int t = 0; t < kTokens; ++t) {
      draw.draw(random, chosen.data());
      for (const std::uint16_t e : chosen) ++counts[e];
    }
    for (std::size_t e = 0; e < counts.size(); ++e) {
      const double sigma = std::sqrt(kTokens * expected[e] * (1 - expected[e]));
      EXPECT_NEAR(counts[e], kTokens * expected[e], 5 * sigma + 1e-3) << exponent << " " << e;
    }
  }
}

// A steep law: the last experts have 1e-17 of the weight, so rejection alone would never end.
TEST(Popularity, SteepLawsEndAndStayDistinct) {
  TokenDraw draw(zipf_weights(8, 20), 8, std::nullopt);
  RandomStream random(1, "test");
  std::array<std::uint16_t, 8> chosen{};
  for (int t = 0; t < 1000; ++t) {
    draw.draw(random, chosen.data());
    EXPECT_EQ(std::set<int>(chosen.begin(), chosen.end()).size(), 8U);
  }
}

TEST(Popularity, GroupLimitKeepsToItsGroups) {
  TokenDraw draw(zipf_weights(32, 0.5), 6, GroupLimit{8, 3});
  RandomStream random(1, "test");
  std::array<std::uint16_t, 6> chosen{};
  std::set<int> groups_ever;
  for (int t = 0; t < 2000; ++t) {
    draw.draw(random, chosen.data());
    std::set<int> groups;
    for (const int e : chosen) groups.insert(e / 4);
    EXPECT_LE(groups.size(), 3U);
    EXPECT_EQ(std::set<int>(chosen.begin(), chosen.end()).size(), 6U);
    groups_ever.insert(groups.begin(), groups.end());
  }
  EXPECT_EQ(groups_ever.size(), 8U);
}

// All groups allowed: the race is plain successive sampling.
TEST(Popularity, GroupRaceWithoutALimitIsSuccessiveSampling) {
  const std::vector<double> weights = zipf_weights(16, 1);
  const std::vector<double> expected = inclusion_probabilities(weights, 4);
  TokenDraw draw(weights, 4, GroupLimit{4, 4});
  RandomStream random(5, "test");
  constexpr int kTokens = 100000;
  std::vector<double> counts(16, 0);
  std::array<std::uint16_t, 4> chosen{};
  for (int t = 0; t < kTokens; ++t) {
    draw.draw(random, chosen.data());
    for (const std::uint16_t e : chosen) ++counts[e];
  }
  for (std::size_t e = 0; e < counts.size(); ++e) {
    EXPECT_NEAR(counts[e] / kTokens, expected[e], 5 * std::sqrt(0.25 / kTokens)) << e;
  }
}

// The race draws only the arrivals that matter; the obvious way scores every expert.
TEST(Popularity, GroupLimitEqualsScoringEveryExpert) {
  const std::vector<double> weights = zipf_weights(24, 1);
  constexpr int kTokens = 60000;
  std::vector<double> race(24, 0);
  std::vector<double> obvious(24, 0);
  TokenDraw draw(weights, 5, GroupLimit{6, 2});
  RandomStream random(5, "test");
  std::array<std::uint16_t, 5> chosen{};
  for (int t = 0; t < kTokens; ++t) {
    draw.draw(random, chosen.data());
    for (const std::uint16_t e : chosen) ++race[e];
    std::vector<double> score;
    for (const double w : weights) score.push_back(std::log(w) - std::log(random.exponential()));
    std::vector<std::pair<double, std::size_t>> groups;
    for (std::size_t g = 0; g < 6; ++g) {
      std::vector<double> of(score.begin() + static_cast<long>(4 * g),
                             score.begin() + static_cast<long>(4 * g + 4));
      std::sort(of.rbegin(), of.rend());
      groups.emplace_back(-(of[0] + of[1]), g);
    }
    std::sort(groups.begin(), groups.end());
    std::vector<std::pair<double, std::size_t>> left;
    for (std::size_t i = 0; i < 8; ++i) {
      const std::size_t e = 4 * groups[i / 4].second + i % 4;
      left.emplace_back(-score[e], e);
    }
    std::sort(left.begin(), left.end());
    for (std::size_t i = 0; i < 5; ++i) ++obvious[left[i].second];
  }
  for (std::size_t e = 0; e < 24; ++e) {
    EXPECT_NEAR(race[e], obvious[e], 5 * std::sqrt(2 * obvious[e])) << e;
  }
}

TEST(Popularity, InclusionDrawKeepsEveryShare) {
  const std::vector<double> inclusion =
      inclusion_from_counts(std::vector<std::int64_t>{900, 500, 300, 200, 100, 0}, 2);
  // 900 of 2000 would be 0.9: none is capped.
  EXPECT_NEAR(inclusion[0], 0.9, 1e-12);
  InclusionDraw draw(inclusion);
  ASSERT_EQ(draw.k(), 2);
  RandomStream random(3, "test");
  std::vector<double> counts(6, 0);
  std::array<std::uint16_t, 2> chosen{};
  constexpr int kTokens = 100000;
  for (int t = 0; t < kTokens; ++t) {
    draw.draw(random, chosen.data());
    EXPECT_NE(chosen[0], chosen[1]);
    for (const std::uint16_t e : chosen) ++counts[e];
  }
  EXPECT_EQ(counts[5], 0);
  for (std::size_t e = 0; e < 6; ++e) EXPECT_NEAR(counts[e] / kTokens, inclusion[e], 0.01) << e;
}

// 1000 of 1100 for k = 2 would be 1.82: capped at 1, and the other 1 is shared 50 : 30 : 20.
TEST(Popularity, InclusionFromCountsCapsAtOne) {
  const std::vector<double> got =
      inclusion_from_counts(std::vector<std::int64_t>{1000, 50, 30, 20}, 2);
  EXPECT_DOUBLE_EQ(got[0], 1);
  EXPECT_NEAR(got[1], 0.5, 1e-12);
  EXPECT_NEAR(got[3], 0.2, 1e-12);
  EXPECT_TRUE(inclusion_from_counts(std::vector<std::int64_t>{5, 0, 0}, 2).empty());
}

TEST(Popularity, CountsHaveExactTotalsAndRightMeans) {
  const std::vector<double> inclusion = inclusion_probabilities(zipf_weights(32, 1.2), 4);
  for (const std::int64_t tokens : {0, 1, 3, 50, 100, 5000}) {
    RandomStream random(9, "counts " + std::to_string(tokens));
    constexpr int kDraws = 4000;
    std::vector<double> mean(32, 0);
    std::vector<std::int64_t> counts(32);
    for (int i = 0; i < kDraws; ++i) {
      draw_counts(inclusion, 4, tokens, random, counts.data());
      EXPECT_EQ(std::accumulate(counts.begin(), counts.end(), std::int64_t{0}), 4 * tokens);
      for (std::size_t e = 0; e < counts.size(); ++e) {
        EXPECT_GE(counts[e], 0);
        EXPECT_LE(counts[e], tokens);
        mean[e] += static_cast<double>(counts[e]) / kDraws;
      }
    }
    for (std::size_t e = 0; e < counts.size(); ++e) {
      const double expected = static_cast<double>(tokens) * inclusion[e];
      const double sigma = std::sqrt(expected * (1 - inclusion[e]) / kDraws);
      EXPECT_NEAR(mean[e], expected, 5 * sigma + 0.003 * expected)
          << tokens << " tokens, expert " << e;
    }
  }
}

// Both forms of the source: the same expected counts within sampling error.
TEST(Synthetic, CountsFormAgreesWithTokens) {
  SyntheticSpec spec;
  spec.exponent = 1.1;
  const std::vector<std::int64_t> tokens(4, 20000);
  const auto drawn = make_synthetic(spec, {64, 64}, 8, tokens, 5);
  spec.token_budget = 1000;
  const auto counted = make_synthetic(spec, {64, 64}, 8, tokens, 5);
  LayerRouting a;
  LayerRouting b;
  drawn->fill(0, 1, a);
  counted->fill(0, 1, b);
  EXPECT_TRUE(a.per_token);
  EXPECT_FALSE(b.per_token);
  EXPECT_TRUE(b.choices.empty());
  EXPECT_EQ(b.tokens(), 80000);
  const std::vector<double> p = synthetic_inclusion(spec, 1, 64, 8, 5);
  for (std::size_t e = 0; e < 64; ++e) {
    double sum_a = 0;
    double sum_b = 0;
    for (std::size_t r = 0; r < 4; ++r) {
      sum_a += static_cast<double>(a.counts[r * 64 + e]);
      sum_b += static_cast<double>(b.counts[r * 64 + e]);
    }
    const double sigma = std::sqrt(80000 * p[e] * (1 - p[e]));
    EXPECT_NEAR(sum_a, 80000 * p[e], 5 * sigma) << e;
    EXPECT_NEAR(sum_b, 80000 * p[e], 5 * sigma) << e;
  }
  EXPECT_EQ(drawn->description(), "synthetic Zipf(1.1) draw weights, top-8, drawn per token");
  EXPECT_EQ(counted->description(),
            "synthetic Zipf(1.1) draw weights, top-8, as counts per rank: 80000 tokens a step are "
            "above the budget of 1000");
}

TEST(Synthetic, GroupLimitedCountsAgreeWithTokens) {
  SyntheticSpec spec;
  spec.groups = GroupLimit{8, 4};
  const std::vector<std::int64_t> tokens(2, 30000);
  const auto drawn = make_synthetic(spec, {64}, 8, tokens, 5);
  spec.token_budget = 1;
  const auto counted = make_synthetic(spec, {64}, 8, tokens, 5);
  LayerRouting a;
  LayerRouting b;
  drawn->fill(0, 0, a);
  counted->fill(0, 0, b);
  for (std::size_t e = 0; e < 64; ++e) {
    const double ours = static_cast<double>(a.counts[e] + a.counts[64 + e]);
    const double other = static_cast<double>(b.counts[e] + b.counts[64 + e]);
    // Two samples of 60000 and the estimate from 131072 tokens.
    EXPECT_NEAR(ours, other, 5 * std::sqrt(ours * (2 + 60000.0 / 131072))) << e;
  }
}

TEST(Synthetic, PopularityDiffersPerLayerAndIsTheSameForTheSameSeed) {
  const std::vector<std::int64_t> tokens = {500, 0, 300};
  const auto one = make_synthetic({}, {32, 32}, 4, tokens, 1);
  const auto same = make_synthetic({}, {32, 32}, 4, tokens, 1);
  const auto other = make_synthetic({}, {32, 32}, 4, tokens, 2);
  LayerRouting a;
  LayerRouting b;
  one->fill(3, 0, a);
  same->fill(0, 1, b);  // other calls before must not matter
  same->fill(3, 0, b);
  EXPECT_EQ(a.choices, b.choices);
  EXPECT_EQ(a.counts, b.counts);
  other->fill(3, 0, b);
  EXPECT_NE(a.choices, b.choices);
  one->fill(4, 0, b);
  EXPECT_NE(a.choices, b.choices);
  EXPECT_NE(synthetic_inclusion({}, 0, 32, 4, 1), synthetic_inclusion({}, 1, 32, 4, 1));
  EXPECT_EQ(a.rank_begin, (std::vector<std::int64_t>{0, 500, 500, 800}));
  EXPECT_EQ(a.choice_begin.back(), 3200);
}

TEST(Synthetic, SaysWhatCannotBe) {
  const auto wrong = [](SyntheticSpec spec, std::vector<int> experts, int k,
                        std::vector<std::int64_t> tokens) {
    return error_text([&] { make_synthetic(spec, experts, k, tokens, 1); });
  };
  SyntheticSpec groups;
  groups.groups = GroupLimit{8, 1};
  EXPECT_EQ(wrong({}, {4}, 5, {1}),
            "top-5 of 4 experts; top-k is 1 to 255 and at most the number of experts");
  EXPECT_EQ(wrong(groups, {12}, 2, {1}), "8 groups do not divide 12 experts");
  EXPECT_EQ(wrong(groups, {16}, 4, {1}),
            "1 of 8 groups hold 2 experts, top-4 needs more; the group limit is 1 to the number of "
            "groups and leaves at least top-k experts");
  SyntheticSpec negative;
  negative.exponent = -1;
  EXPECT_EQ(wrong(negative, {4}, 2, {1}), "a Zipf exponent is 0 to 20, not -1");
  EXPECT_EQ(wrong({}, {4}, 2, {-1}),
            "-1 tokens on a rank; a rank has 0 or more, a step at most 2^40");
  EXPECT_EQ(wrong({}, {4}, 2, {}), "routing needs at least one rank");
}

TEST(Synthetic, WrittenRequestsRepeatTheirNeighbours) {
  const TempFile file("a.moetrace");
  SyntheticTrace trace;
  trace.experts = {64};
  trace.top_k = 4;
  trace.requests = 50;
  trace.min_positions = 10;
  trace.max_positions = 30;
  trace.repeat = 0.5;
  write_synthetic({}, trace, 3, file.path());
  TraceReader reader(file.path());
  const TokenChunk chunk = reader.read_chunk(0);
  EXPECT_EQ(chunk.request.back(), 49);
  int same = 0;
  int pairs = 0;
  for (std::size_t t = 1; t < chunk.request.size(); ++t) {
    if (chunk.request[t] != chunk.request[t - 1]) {
      EXPECT_EQ(chunk.position[t], 0);
      EXPECT_GE(chunk.position[t - 1], 9);
      EXPECT_LE(chunk.position[t - 1], 29);
      continue;
    }
    ++pairs;
    same += chunk.choices.compare(4 * t, 4, chunk.choices, 4 * t - 4, 4) == 0 ? 1 : 0;
  }
  EXPECT_NEAR(static_cast<double>(same) / pairs, 0.5, 0.08);  // 5 sigma of ~950 pairs
  EXPECT_EQ(
      reader.header().provenance,
      "synthetic, not recorded from a model: Zipf(0.8) draw weights, seed 3; with probability "
      "0.5 a token keeps the experts of the token before it in its request, layer by layer");
}

// traces/samples/zipf-24x32-top4.moetrace is what the README says: made again, it is the same.
TEST(Synthetic, TheSampleCanBeMadeAgain) {
  const TempFile file("a.moetrace");
  SyntheticSpec spec;
  spec.exponent = 0.5;
  SyntheticTrace trace;
  trace.model = "zipf-24x32-top4";
  trace.experts.assign(24, 32);
  trace.top_k = 4;
  trace.requests = 64;
  trace.min_positions = 16;
  trace.max_positions = 48;
  trace.repeat = 0.3;
  write_synthetic(spec, trace, 7, file.path());
  TraceReader made(file.path());
  TraceReader sample(std::string(MOE_SOURCE_DIR) + "/traces/samples/zipf-24x32-top4.moetrace");
  EXPECT_EQ(made.header(), sample.header());
  ASSERT_EQ(made.index().rows, 2071);
  ASSERT_EQ(sample.index().rows, 2071);
  const TokenChunk a = made.read_chunk(0);
  const TokenChunk b = sample.read_chunk(0);
  EXPECT_EQ(a.request, b.request);
  EXPECT_EQ(a.position, b.position);
  EXPECT_EQ(a.choices, b.choices);
}

TEST(Synthetic, FileTakesAtMostAByteAndAFifthPerChoice) {
  const TempFile file("a.moetrace");
  SyntheticTrace trace;
  trace.experts.assign(8, 256);
  trace.top_k = 8;
  trace.steps = 2;
  trace.tokens_per_rank.assign(8, 512);
  SyntheticSpec uniform;
  uniform.kind = SyntheticKind::kUniform;
  write_synthetic(uniform, trace, 3, file.path());
  EXPECT_LE(read_info(file.path()).bytes_per_choice, 1.2);
}

}  // namespace
}  // namespace sim
