#include "traces/gating/balance_terms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "sim/core/random.h"
#include "tests/traces/temp_file.h"

namespace sim {
namespace {

using ::testing::DoubleNear;
using ::testing::ElementsAre;
using testing::error_text;

// Two tokens, two experts. Logits (ln 3, 0) and (0, 0): p = (3/4, 1/4) and (1/2, 1/2), so
// P = (5/8, 3/8).
struct TwoTokens {
  std::vector<double> logits = {std::log(3.0), 0, 0, 0};
  std::vector<std::int64_t> counts = {2, 0};
  std::vector<std::int64_t> first_counts = {2, 0};
  BalanceInput input() const {
    BalanceInput in;
    in.tokens = 2;
    in.experts = 2;
    in.logits = logits;
    in.counts = counts;
    in.first_counts = first_counts;
    return in;
  }
};

double value(const char* term, const BalanceInput& in) { return balance_term(term).value(in); }

// (3/4 ln 3/4 + 1/4 ln 1/4 + ln 1/2) / 2 = (-0.5623351 - 0.6931472) / 2 = -0.6277412. The least it
// can be is -ln 2, at uniform: the term is minus the entropy.
TEST(BalanceTerm, EntropyByHand) {
  const TwoTokens two;
  EXPECT_NEAR(value("entropy", two.input()), -0.6277412, 1e-7);
  EXPECT_NEAR(value("top-p-entropy", two.input()), 0.6277412, 1e-7);
}

// C/T = (2/2, 0): (1 - 1/2)^2 + (0 - 1/2)^2 = 1/2. With k = 2 and C = (2, 2): 0, not (1 - 1/2)^2.
TEST(BalanceTerm, VarianceByHand) {
  TwoTokens two;
  EXPECT_DOUBLE_EQ(value("variance", two.input()), 0.5);
  two.counts = {2, 2};
  BalanceInput in = two.input();
  in.top_k = 2;
  EXPECT_DOUBLE_EQ(value("variance", in), 0);
}

// f = (1, 0): 2 * (1 * 5/8 + 0) = 1.25. With f = (1/2, 1/2) of all choices 2 * (5/16 + 3/16) = 1;
// GShard's term keeps the first choices' 1.25.
TEST(BalanceTerm, SwitchAndGshardByHand) {
  TwoTokens two;
  EXPECT_DOUBLE_EQ(value("switch", two.input()), 1.25);
  two.counts = {2, 2};
  EXPECT_DOUBLE_EQ(value("switch", two.input()), 1);
  EXPECT_DOUBLE_EQ(value("gshard", two.input()), 1.25);
}

// Importance (5/8, 3/8): mean 1/2, deviation 1/8: CV^2 = (1/4)^2 = 1/16.
TEST(BalanceTerm, ImportanceByHand) {
  EXPECT_DOUBLE_EQ(value("importance", TwoTokens().input()), 0.0625);
}

// Logits (1, 0) and (0, 0), k = 1, noise 1: token 0 passes with Phi(1) = 0.8413447 and
// Phi(-1) = 0.1586553, token 1 with 1/2 each. Loads 1.3413447 and 0.6586553: mean 1, deviation
// 0.3413447, CV^2 = 0.1165162.
TEST(BalanceTerm, LoadByHand) {
  TwoTokens two;
  two.logits = {1, 0, 0, 0};
  BalanceInput in = two.input();
  in.noise_deviation = 1;
  EXPECT_NEAR(value("load", in), 0.1165162, 1e-7);
}

// log sum exp: ln 4 and ln 2: (1.9218121 + 0.4804530) / 2 = 1.2011326.
TEST(BalanceTerm, ZLossByHand) {
  EXPECT_NEAR(value("z-loss", TwoTokens().input()), 1.2011326, 1e-7);
}

// Loads 5, 3, 4, 4: mean 4; 0.1 down, 0.1 up, the others rest. max/mean - 1 = 0.25.
TEST(BalanceTerm, LossFreeByHand) {
  std::vector<double> bias = {0, 0, 1, 0};
  loss_free_update(bias, std::vector<double>{5, 3, 4, 4}, 0.1);
  EXPECT_THAT(bias, ElementsAre(-0.1, 0.1, 1, 0));
  TraceBalance trace(4);
  trace.add_counts(std::vector<std::int64_t>{5, 3, 4, 4}, 16);
  EXPECT_DOUBLE_EQ(balance_term("loss-free").on_trace(trace).value(), 0.25);
}

// One expert and two nulls; all p = 1/3. Counts (2, 4, 0): f = (1/3, 2/3, 0), the nulls share 1/3
// each: 3 * (1/3 + 1/3 + 1/3) / 3 = 1, whichever null was chosen. Without the bucket a p of (1/2,
// 1/2, 0) would give 3 * (1/6 + 1/3) = 1.5; with it 3 * (1/6 + 1/6) = 1.
TEST(BalanceTerm, NullBucketByHand) {
  const std::vector<double> even = {0, 0, 0};
  const std::vector<double> uneven = {0, 0, -800};
  const std::vector<std::int64_t> counts = {2, 4, 0};
  BalanceInput in;
  in.tokens = 1;
  in.experts = 1;
  in.null_experts = 2;
  in.logits = even;
  in.counts = counts;
  EXPECT_DOUBLE_EQ(value("null-bucket", in), 1);
  in.logits = uneven;
  EXPECT_DOUBLE_EQ(value("null-bucket", in), 1);
  EXPECT_DOUBLE_EQ(value("switch", in), 1.5);
}

// Sizes 3 and 1 (mean 2), f = (1, 0): 2 * 1 * 3/2 * 5/8 = 1.875.
TEST(BalanceTerm, SizeWeightedByHand) {
  const TwoTokens two;
  const std::vector<double> sizes = {3, 1};
  BalanceInput in = two.input();
  in.expert_sizes = sizes;
  EXPECT_DOUBLE_EQ(value("size-weighted", in), 1.875);
}

// One token, p = (3/4, 1/4), slopes E f = (2, 0): mean slope 3/2, so d/dlogit = (3/4 * 1/2, 1/4 *
// -3/2) = (3/8, -3/8).
TEST(BalanceForce, SwitchByHand) {
  std::vector<double> out(2, 0.0);
  add_softmax_force(switch_slopes(std::vector<double>{1, 0}), std::vector<double>{0.75, 0.25}, 1,
                    out);
  EXPECT_THAT(out, ElementsAre(DoubleNear(0.375, 1e-12), DoubleNear(-0.375, 1e-12)));
}

struct RandomCase {
  explicit RandomCase(std::uint64_t seed) {
    RandomStream random(seed, "test");
    in.tokens = 5;
    in.experts = 6;
    in.null_experts = static_cast<int>(seed % 3);
    in.top_k = 2;
    in.noise_deviation = 0.7;
    const auto columns = static_cast<std::size_t>(in.columns());
    for (std::size_t i = 0; i < 5 * columns; ++i) logits.push_back(random.normal());
    for (std::size_t e = 0; e < columns; ++e) {
      counts.push_back(static_cast<std::int64_t>(random.below(5)));
      first.push_back(static_cast<std::int64_t>(random.below(3)));
      sizes.push_back(1 + random.uniform());
    }
    counts[0] += 1;
    first[0] += 1;
    in.logits = logits;
    in.counts = counts;
    in.first_counts = first;
    in.expert_sizes = sizes;
  }
  BalanceInput in;
  std::vector<double> logits, sizes;
  std::vector<std::int64_t> counts, first;
};

// The value whose gradient the force is. Counts are held, which is what training does; only
// `variance` has nothing but counts, so its force is that of the soft form with k P for C / T.
double forced_value(const BalanceTerm& term, const BalanceInput& in) {
  if (term.name != "variance") return term.value(in);
  std::vector<double> p(in.logits.size());
  softmax_rows(in.logits, in.columns(), p);
  double sum = 0;
  for (const double mean : mean_of_rows(p, in.columns())) {
    const double off = in.top_k * mean - static_cast<double>(in.top_k) / in.columns();
    sum += off * off;
  }
  return sum;
}

TEST(BalanceForce, IsTheFiniteDifferenceOfEveryTerm) {
  for (const BalanceTerm& term : balance_terms()) {
    if (term.add_force == nullptr) {
      EXPECT_EQ(term.name, "loss-free");
      continue;
    }
    for (std::uint64_t seed = 0; seed < 6; ++seed) {
      RandomCase c(seed);
      std::vector<double> force(c.logits.size(), 0.0);
      term.add_force(c.in, 3, force);
      for (std::size_t i = 0; i < c.logits.size(); ++i) {
        constexpr double kStep = 1e-5;
        const double here = c.logits[i];
        c.logits[i] = here + kStep;
        const double above = forced_value(term, c.in);
        c.logits[i] = here - kStep;
        const double below = forced_value(term, c.in);
        c.logits[i] = here;
        EXPECT_NEAR(force[i], 3 * (above - below) / (2 * kStep), 2e-6) << term.name << " " << i;
      }
    }
  }
}

// Renaming the experts changes no value.
TEST(BalanceTerm, DoesNotDependOnTheNamesOfExperts) {
  for (const BalanceTerm& term : balance_terms()) {
    for (std::uint64_t seed = 0; seed < 6; seed += 3) {  // without nulls: those stay last
      const RandomCase a(seed);
      RandomCase b(seed);
      const auto turned = [&](std::size_t e) { return (e + 2) % 6; };
      for (std::size_t e = 0; e < 6; ++e) {
        b.counts[turned(e)] = a.counts[e];
        b.first[turned(e)] = a.first[e];
        b.sizes[turned(e)] = a.sizes[e];
        for (std::size_t t = 0; t < 5; ++t) b.logits[t * 6 + turned(e)] = a.logits[t * 6 + e];
      }
      EXPECT_NEAR(term.value(a.in), term.value(b.in), 1e-12) << term.name;
    }
  }
}

// Going against the force lowers every term.
TEST(BalanceForce, FollowedDownhillLowersTheTerm) {
  for (const BalanceTerm& term : balance_terms()) {
    if (term.add_force == nullptr) continue;
    RandomCase c(1);
    const double before = forced_value(term, c.in);
    std::vector<double> force(c.logits.size(), 0.0);
    term.add_force(c.in, 1, force);
    for (std::size_t i = 0; i < c.logits.size(); ++i) c.logits[i] -= 0.01 * force[i];
    EXPECT_LT(forced_value(term, c.in), before) << term.name;
  }
}

// Two tokens of two experts each with weights (3, 1) and (1, 1), to be scaled: (3/4, 1/4) and (1/2,
// 1/2). Experts 0, 1 and 0, 2: counts (2, 1, 1), first (2, 0, 0), weight sums (5/4, 1/4, 1/2).
TEST(TraceBalance, ByHand) {
  TraceBalance trace(3);
  trace.add(std::vector<std::uint16_t>{0, 1}, std::vector<float>{3, 1});
  trace.add(std::vector<std::uint16_t>{0, 2}, std::vector<float>{1, 1});
  const auto on = [&](const char* name) { return balance_term(name).on_trace(trace); };
  EXPECT_NEAR(on("entropy").value(), -0.6277412, 1e-7);
  // (2/2 - 2/3)^2 + 2 (1/2 - 2/3)^2 = 1/9 + 1/18
  EXPECT_NEAR(on("variance").value(), 1.0 / 6, 1e-12);
  // 3 * (1/4 + 1/16 + 1/16)
  EXPECT_DOUBLE_EQ(on("switch").value(), 1.125);
  EXPECT_DOUBLE_EQ(on("gshard").value(), 3);
  // mean 2/3, squares 25/16 + 1/16 + 1/4 = 15/8: 3 * 15/8 / 4 - 1 = 13/32
  EXPECT_NEAR(on("importance").value(), 13.0 / 32, 1e-12);
  EXPECT_NEAR(on("load").value(), 0.125, 1e-12);
  EXPECT_DOUBLE_EQ(on("loss-free").value(), 0.5);
  for (const BalanceTerm& term : balance_terms())
    EXPECT_EQ(term.on_trace(trace).has_value(), term.trace_form != TraceForm::kNeedsScores)
        << term.name;
}

TEST(TraceBalance, CountsAloneGiveWhatTheyCan) {
  TraceBalance trace(2);
  trace.add_counts(std::vector<std::int64_t>{3, 1}, 0);
  const auto on = [&](const char* name) { return balance_term(name).on_trace(trace); };
  EXPECT_FALSE(on("variance").has_value());  // tokens are not known
  EXPECT_FALSE(on("gshard").has_value());
  EXPECT_FALSE(on("importance").has_value());
  EXPECT_DOUBLE_EQ(on("switch").value(), 1.25);
}

TEST(BalanceTerm, AnUnknownNameIsAnErrorWithASuggestion) {
  EXPECT_EQ(error_text([] { balance_term("swich"); }),
            "there is no balance term 'swich'; did you mean 'switch'?");
}

}  // namespace
}  // namespace sim
