// What holds for every routing function, and for the balanced assignment.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>

#include "sim/core/random.h"
#include "tests/traces/gating_cases.h"
#include "traces/gating/assignment.h"

namespace sim {
namespace {

using testing::counts_of;
using testing::GateCase;
using testing::random_case;

constexpr int kExperts = 8;
constexpr std::int64_t kTokens = 200;

std::vector<std::string> settings_of(std::string_view gate) {
  if (gate == "target-shares") return {"shares=[1, 1, 1, 1, 1, 1, 1, 9]"};
  if (gate == "group-limited") return {"groups=4", "limit=2"};
  if (gate == "hierarchical") return {"groups=4", "top_groups=2", "k=1"};
  if (gate == "token-rounding") return {"tile=16"};
  return {};
}

Gate made(const GatingFunction& function) {
  GateShape shape;
  shape.experts = kExperts;
  shape.top_k = 2;
  shape.ranks = 4;
  shape.domains = 2;
  return make_gate(function.name, settings_of(function.name), shape);
}

TEST(EveryGate, GivesDistinctExpertsAndSaneWeights) {
  for (const GatingFunction& function : gating_functions()) {
    SCOPED_TRACE(std::string(function.name));
    const Gate gate = made(function);
    const GateCase c = random_case(gate, kExperts, kTokens, 3);
    const GateChoices out = route(gate, c.input());
    EXPECT_EQ(out.rows(), gate.slots > 0 ? 4 * gate.slots : kTokens * gate.rounds);
    EXPECT_EQ(out.weights.size(), out.choices.size());
    EXPECT_FALSE(out.choices.empty());
    for (std::int64_t r = 0; r < out.rows(); ++r) {
      const auto chosen = out.of(r);
      const auto weights = out.weights_of(r);
      EXPECT_EQ(std::set<int>(chosen.begin(), chosen.end()).size(), chosen.size());
      EXPECT_LE(chosen.size(), static_cast<std::size_t>(gate.most_choices));
      if (gate.fixed_count) {
        EXPECT_EQ(chosen.size(), static_cast<std::size_t>(gate.most_choices));
      }
      for (const int e : chosen) EXPECT_LT(e, kExperts);
      for (const float w : weights) EXPECT_TRUE(w >= 0 && w <= 1) << w;
    }
  }
}

// The same input gives the same choices; what a gate draws differs between steps and seeds.
TEST(EveryGate, DependsOnSeedStepAndLayerOnly) {
  const std::set<std::string_view> drawing = {"noisy-top-k",    "gshard-top-2",     "random",
                                              "random-1",       "random-partition", "domain-random",
                                              "dense-to-sparse"};
  for (const GatingFunction& function : gating_functions()) {
    SCOPED_TRACE(std::string(function.name));
    const Gate gate = made(function);
    GateCase c = random_case(gate, kExperts, kTokens, 3);
    const GateChoices out = route(gate, c.input());
    const GateChoices again = route(made(function), c.input());
    EXPECT_EQ(out.choices, again.choices);
    EXPECT_EQ(out.weights, again.weights);
    if (!drawing.contains(function.name)) continue;
    c.step = 1;
    EXPECT_NE(out.choices, route(gate, c.input()).choices);
    c.step = 0;
    c.layer = 1;
    EXPECT_NE(out.choices, route(gate, c.input()).choices);
    c.layer = 0;
    c.seed = 4;
    EXPECT_NE(out.choices, route(gate, c.input()).choices);
  }
}

// Weights that are a softmax over the chosen, or over everything, sum to 1.
TEST(EveryGate, WeightsThatSumToOneDo) {
  for (const char* name :
       {"softmax", "hierarchical", "top-k", "merged", "hash", "random", "frozen-random", "top-any",
        "comet", "chained", "group-limited", "loss-free-bias"}) {
    const Gate gate = made(gating_function(name));
    const GateChoices out = route(gate, random_case(gate, kExperts, kTokens, 5).input());
    for (std::int64_t r = 0; r < out.rows(); ++r) {
      const auto weights = out.weights_of(r);
      EXPECT_NEAR(std::accumulate(weights.begin(), weights.end(), 0.0), 1, 1e-5) << name;
    }
  }
}

// Renaming the experts renames the choices.
TEST(EveryGate, FollowsAPermutationOfTheExperts) {
  for (const char* name : {"softmax", "top-k", "hard", "switch", "sigmoid", "expert-choice",
                           "merged", "base", "sinkhorn", "frozen-random", "top-p", "token-rounding",
                           "rank-k", "loss-free-bias", "top-any"}) {
    SCOPED_TRACE(name);
    const Gate gate = made(gating_function(name));
    const GateCase a = random_case(gate, kExperts, kTokens, 6);
    GateCase b = a;
    const auto turned = [](int e) { return (e + 3) % kExperts; };
    for (std::int64_t t = 0; t < kTokens; ++t) {
      for (int e = 0; e < kExperts; ++e) {
        b.matrices[0][static_cast<std::size_t>(t * kExperts + turned(e))] =
            a.matrices[0][static_cast<std::size_t>(t * kExperts + e)];
      }
    }
    const GateChoices before = route(gate, a.input());
    const GateChoices after = route(gate, b.input());
    for (std::int64_t t = 0; t < kTokens; ++t) {
      std::multiset<int> expected;
      for (const int e : before.of(t)) expected.insert(turned(e));
      EXPECT_EQ(std::multiset<int>(after.of(t).begin(), after.of(t).end()), expected) << t;
    }
  }
}

// A greater score for an expert never makes a token leave it.
TEST(EveryGate, IsMonotoneInTheScore) {
  for (const char* name : {"top-k", "hard", "switch", "sigmoid", "top-p", "frozen-random",
                           "loss-free-bias", "top-any", "group-limited"}) {
    const Gate gate = made(gating_function(name));
    for (std::uint64_t seed = 0; seed < 8; ++seed) {
      GateCase c = random_case(gate, kExperts, 40, seed);
      const GateChoices before = route(gate, c.input());
      const auto expert = static_cast<std::uint16_t>(seed % kExperts);
      for (std::int64_t t = 0; t < 40; ++t)
        c.matrices[0][static_cast<std::size_t>(t * kExperts) + expert] += 0.7;
      const GateChoices after = route(gate, c.input());
      for (std::int64_t t = 0; t < 40; ++t) {
        const auto has = [&](const GateChoices& choices) {
          const auto chosen = choices.of(t);
          return std::find(chosen.begin(), chosen.end(), expert) != chosen.end();
        };
        EXPECT_LE(has(before), has(after)) << name << " token " << t;
      }
    }
  }
}

TEST(BalancedGates, GiveTheLoadsTheyPromise) {
  const auto run = [](const char* name, const std::vector<std::string>& set) {
    GateShape shape;
    shape.experts = kExperts;
    shape.top_k = 2;
    shape.ranks = 4;
    const Gate gate = make_gate(name, set, shape);
    return counts_of(route(gate, random_case(gate, kExperts, kTokens, 9).input()), kExperts);
  };
  const std::vector<std::int64_t> even(kExperts, 25);
  EXPECT_EQ(run("base", {}), even);
  EXPECT_EQ(run("random-partition", {}), even);
  EXPECT_EQ(run("expert-choice", {}), std::vector<std::int64_t>(kExperts, 50));
  // 50 tokens of each rank on 8 experts: two experts have 7 of every rank.
  EXPECT_THAT(run("base", {"per=source-rank"}),
              ::testing::ElementsAre(28, 28, 24, 24, 24, 24, 24, 24));
  for (const std::int64_t n : run("token-rounding", {"tile=16"})) EXPECT_EQ(n % 16, 0);
  // Each rank's 50 in the shares 1/16 and 9/16: 3.125 and 28.125; by largest remainder (ties to
  // the lower) 4, 3, 3, 3, 3, 3, 3, 28.
  EXPECT_THAT(run("target-shares", {"shares=[1, 1, 1, 1, 1, 1, 1, 9]"}),
              ::testing::ElementsAre(16, 12, 12, 12, 12, 12, 12, 112));
  // Sinkhorn is only nearly balanced, but more so than the top-1 it starts from.
  const auto most = [](const std::vector<std::int64_t>& counts) {
    return *std::max_element(counts.begin(), counts.end());
  };
  EXPECT_LT(most(run("sinkhorn", {"k=1"})), most(run("top-k", {"k=1"})));
}

// One expert, one token, no token, fewer tokens than experts: only what cannot be is refused.
TEST(EveryGate, WorksAtTheEdges) {
  for (const GatingFunction& function : gating_functions()) {
    for (const auto& [experts, tokens] :
         std::vector<std::pair<int, std::int64_t>>{{1, 1}, {1, 5}, {8, 0}, {8, 1}, {16, 4}}) {
      if (experts == 1 && function.name == "gshard-top-2") continue;  // needs a second expert
      SCOPED_TRACE(std::string(function.name) + " " + std::to_string(experts));
      GateShape shape;
      shape.experts = experts;
      shape.ranks = 4;
      std::vector<std::string> set;
      if (function.name == "target-shares") {
        std::string shares = "shares=[1";
        for (int e = 1; e < experts; ++e) shares += ", 1";
        set = {shares + "]"};
      }
      const Gate gate = make_gate(function.name, set, shape);
      GateCase c = random_case(gate, experts, tokens, 1);
      c.domains.clear();
      const GateChoices out = route(gate, c.input());
      if (gate.slots == 0) {
        EXPECT_EQ(out.rows(), tokens * gate.rounds);
      }
      for (const int e : out.choices) EXPECT_LT(e, experts);
    }
  }
}

// Experts run per token, hence flops: classic = hierarchical with all on > top-k > top-1 (the
// survey's table of architectures).
TEST(EveryGate, DenseGatesCostMoreThanSparseOnes) {
  const auto rows = [](const char* name, const std::vector<std::string>& set) {
    GateShape shape;
    shape.experts = kExperts;
    shape.top_k = 2;
    const Gate gate = make_gate(name, set, shape);
    return route(gate, random_case(gate, kExperts, kTokens, 2).input()).choices.size();
  };
  EXPECT_EQ(rows("softmax", {}), kTokens * 8);
  EXPECT_EQ(rows("merged", {}), kTokens * 8);
  EXPECT_EQ(rows("hierarchical", {}), kTokens * 8);
  EXPECT_EQ(rows("top-k", {}), kTokens * 2);
  EXPECT_EQ(rows("switch", {}), kTokens);
}

// Against every assignment, tried one by one.
TEST(BalancedAssignment, IsWithinItsPromiseOfTheBest) {
  for (std::uint64_t seed = 0; seed < 40; ++seed) {
    RandomStream random(seed, "assignment");
    std::vector<std::int64_t> capacity = {3, 0, 2, 2};
    random.shuffle(capacity);
    std::vector<double> scores;
    for (int i = 0; i < 7 * 4; ++i)
      scores.push_back(seed % 4 == 0 ? static_cast<double>(random.below(3)) : random.normal());
    std::vector<std::uint32_t> columns;
    for (std::uint32_t c = 0; c < 4; ++c)
      columns.insert(columns.end(), static_cast<std::size_t>(capacity[c]), c);
    const auto total = [&](const std::vector<std::uint32_t>& of) {
      double sum = 0;
      for (std::size_t r = 0; r < 7; ++r) sum += scores[r * 4 + of[r]];
      return sum;
    };
    double best = -std::numeric_limits<double>::infinity();
    std::vector<std::uint32_t> each = columns;
    std::sort(each.begin(), each.end());
    do {
      best = std::max(best, total(each));
    } while (std::next_permutation(each.begin(), each.end()));
    constexpr double kEpsilon = 1e-4;
    std::vector<std::uint32_t> got = balanced_assignment(scores, capacity, kEpsilon);
    EXPECT_GE(total(got), best - 7 * kEpsilon - 1e-12) << seed;
    std::sort(got.begin(), got.end());
    std::sort(columns.begin(), columns.end());
    EXPECT_EQ(got, columns) << seed;
  }
}

TEST(BalancedAssignment, OneColumnAndNoRows) {
  EXPECT_EQ(balanced_assignment(std::vector<double>{1, 2}, std::vector<std::int64_t>{2}, 0.1),
            (std::vector<std::uint32_t>{0, 0}));
  EXPECT_TRUE(balanced_assignment({}, std::vector<std::int64_t>{0, 0}, 0.1).empty());
}

}  // namespace
}  // namespace sim
