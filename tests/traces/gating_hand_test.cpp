// Routing functions that score token by token, each on a case worked by hand. The others are in
// gating_hand_balanced_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/traces/gating_cases.h"
#include "tests/traces/temp_file.h"

namespace sim {
namespace {

using testing::counts_of;
using ::testing::ElementsAre;
using testing::error_text;
using ::testing::FloatNear;
using testing::GateCase;
using ::testing::Pair;
using testing::row;

auto is(int expert, double weight) { return Pair(expert, ::testing::DoubleNear(weight, 1e-6)); }

// p = (1/2, 1/3, 1/6): the logits of most cases below.
const std::vector<double> kLogits = {std::log(3.0), std::log(2.0), 0};

TEST(GateByHand, Softmax) {
  EXPECT_THAT(row(GateCase({kLogits}).run("softmax"), 0),
              ElementsAre(is(0, 1.0 / 2), is(1, 1.0 / 3), is(2, 1.0 / 6)));
}

// Groups {0, 1} and {2, 3}; group logits (ln 3, 0): 3/4 and 1/4. Inside: (0, 0): 1/2 each and
// (0, ln 4): 1/5, 4/5. Products 3/8, 3/8, 1/20, 1/5.
TEST(GateByHand, Hierarchical) {
  GateCase c;
  c.add({{std::log(3.0), 0}}).add({{0, 0, 0, std::log(4.0)}});
  c.experts = 4;
  EXPECT_THAT(row(c.run("hierarchical", {"groups=2"}), 0),
              ElementsAre(is(0, 3.0 / 8), is(1, 3.0 / 8), is(3, 0.2), is(2, 0.05)));
  // One group, one expert of it: weight 1.
  EXPECT_THAT(row(c.run("hierarchical", {"groups=2", "top_groups=1", "k=1"}), 0),
              ElementsAre(is(0, 1)));
}

// Top-2 of p: (1/2, 1/3) over 5/6 = 3/5, 2/5; not normalised they stay.
TEST(GateByHand, TopK) {
  const GateCase c({kLogits});
  EXPECT_THAT(row(c.run("top-k"), 0), ElementsAre(is(0, 0.6), is(1, 0.4)));
  EXPECT_THAT(row(c.run("top-k", {"normalise=false"}), 0), ElementsAre(is(0, 0.5), is(1, 1.0 / 3)));
}

TEST(GateByHand, Hard) {
  const GateCase c({kLogits});
  EXPECT_THAT(row(c.run("hard"), 0), ElementsAre(is(0, 1)));
  EXPECT_THAT(row(c.run("hard", {"threshold=0.3"}), 0), ElementsAre(is(0, 1), is(1, 1)));
  EXPECT_THAT(row(c.run("hard", {"threshold=0.9"}), 0), ElementsAre(is(0, 1)));
}

// Adding Gumbel noise and taking the greatest draws from the softmax: 20,000 tokens of the same
// logits choose expert 0 half of the time, 5 standard deviations (0.0177).
TEST(GateByHand, HardGumbelDrawsFromTheSoftmax) {
  const GateCase c(std::vector<std::vector<double>>(20000, kLogits));
  const auto counts = counts_of(c.run("hard", {"gumbel=true"}), 3);
  EXPECT_NEAR(static_cast<double>(counts[0]) / 20000, 1.0 / 2, 0.018);
  EXPECT_NEAR(static_cast<double>(counts[1]) / 20000, 1.0 / 3, 0.018);
}

TEST(GateByHand, SwitchIsTheGreatestProbabilityAndACapacity) {
  const GateCase c({kLogits});
  EXPECT_THAT(row(c.run("switch"), 0), ElementsAre(is(0, 0.5)));
  const Gate gate = make_gate("switch", std::vector<std::string>{"capacity_factor=1.5"}, c.shape());
  EXPECT_EQ(gate.capacity->kind, CapacityKind::kFixed);
  EXPECT_EQ(gate.capacity->factor, 1.5);
}

// Without noise it is top-k. With logits 0 and 1 and noise of deviation sigma in each, expert 1
// wins with probability Phi(1 / (sigma sqrt 2)): sigma = 1 gives Phi(0.7071) = 0.760250.
TEST(GateByHand, NoisyTopK) {
  EXPECT_THAT(row(GateCase({kLogits}).run("noisy-top-k", {"sigma=0"}), 0),
              ElementsAre(is(0, 0.5), is(1, 1.0 / 3)));
  const GateCase c(std::vector<std::vector<double>>(20000, {0, 1}));
  const auto counts = counts_of(c.run("noisy-top-k", {"k=1"}), 2);
  EXPECT_NEAR(static_cast<double>(counts[1]) / 20000, 0.76025, 5 * std::sqrt(0.1823 / 20000));
}

// softplus(ln(e - 1)) = 1, so the learned form with these noise logits is the case above; with
// noise logits of -50 there is none, and the weights are those of top-k.
TEST(GateByHand, NoisyTopKLearned) {
  const double unit = std::log(std::exp(1.0) - 1);
  GateCase c(std::vector<std::vector<double>>(20000, {0, 1}));
  c.add(std::vector<std::vector<double>>(20000, {unit, unit}));
  const auto counts = counts_of(c.run("noisy-top-k", {"noise=learned", "k=1"}), 2);
  EXPECT_NEAR(static_cast<double>(counts[1]) / 20000, 0.76025, 5 * std::sqrt(0.1823 / 20000));
  GateCase still({kLogits});
  still.add({{-50, -50, -50}});
  EXPECT_THAT(row(still.run("noisy-top-k", {"noise=learned"}), 0),
              ElementsAre(is(0, 0.6), is(1, 0.4)));
}

// Logits (ln 4, 0, -9): g = (4/5, 1/5), so the second is kept with probability 2/5.
TEST(GateByHand, GshardKeepsTheSecondByChance) {
  const GateCase c(std::vector<std::vector<double>>(20000, {std::log(4.0), 0, -9}));
  const GateChoices out = c.run("gshard-top-2");
  EXPECT_THAT(counts_of(out, 3)[0], 20000);
  EXPECT_NEAR(static_cast<double>(counts_of(out, 3)[1]) / 20000, 0.4, 5 * std::sqrt(0.24 / 20000));
  EXPECT_NEAR(out.weights_of(0)[0], 0.8, 1e-6);
  // g2 = 1/2: always kept.
  EXPECT_EQ(GateCase({{0, 0, -9}}).run("gshard-top-2").of(0).size(), 2U);
}

// sigmoid(ln 3) = 3/4, sigmoid(ln 2) = 2/3; normalised 9/17 and 8/17.
TEST(GateByHand, Sigmoid) {
  const GateCase c({kLogits});
  EXPECT_THAT(row(c.run("sigmoid"), 0), ElementsAre(is(0, 0.75), is(1, 2.0 / 3)));
  EXPECT_THAT(row(c.run("sigmoid", {"normalise=true"}), 0),
              ElementsAre(is(0, 9.0 / 17), is(1, 8.0 / 17)));
}

// Token (3, 4), experts (5, 0), (0, 1), (-1, 0): cosines 0.6, 0.8, -0.6: length does not count.
// Temperature 0.2 makes them 3, 4, -3: p of expert 1 is 1 / (1 + e^-1 + e^-7) = 0.730572.
TEST(GateByHand, Cosine) {
  GateCase c;
  c.add({{3, 4}});
  c.experts = 3;
  c.expert_vectors = {5, 0, 0, 1, -1, 0};
  const GateChoices out = c.run("cosine", {"k=1", "dimension=2", "temperature=0.2"});
  EXPECT_THAT(row(out, 0), ElementsAre(is(1, 0.730572)));
}

// k from 1 to 3 in 4 steps: steps 0, 2, 4, 9 have k = 1, 2, 3, 3.
TEST(GateByHand, FrozenRandomGrows) {
  GateCase c({kLogits});
  const std::vector<std::string> set = {"k_first=1", "k_last=3", "steps=4"};
  for (const auto& [step, k] :
       std::vector<std::pair<int, std::size_t>>{{0, 1}, {2, 2}, {4, 3}, {9, 3}}) {
    c.step = step;
    EXPECT_EQ(c.run("frozen-random", set).of(0).size(), k) << step;
  }
}

// Without noise. Temperature 2 at step 0: p ~ sqrt(3), sqrt(2), 1 over 4.1463: 0.418, 0.341, 0.241:
// all pass 0.2. Temperature 0.5 at the end: 9, 4, 1 over 14: 0.643, 0.286, 0.071: two pass.
TEST(GateByHand, DenseToSparse) {
  GateCase c({kLogits});
  const std::vector<std::string> set = {"temperature_first=2", "temperature_last=0.5", "steps=10",
                                        "threshold=0.2", "noise=false"};
  EXPECT_EQ(c.run("dense-to-sparse", set).of(0).size(), 3U);
  c.step = 10;
  EXPECT_THAT(row(c.run("dense-to-sparse", set), 0), ElementsAre(is(0, 9.0 / 14), is(1, 4.0 / 14)));
}

// p = (1/2, 1/3, 1/6): 0.5 needs one, 0.8 two, 1 all.
TEST(GateByHand, TopP) {
  const GateCase c({kLogits});
  EXPECT_THAT(row(c.run("top-p", {"p=0.5"}), 0), ElementsAre(is(0, 0.5)));
  EXPECT_THAT(row(c.run("top-p", {"p=0.8"}), 0), ElementsAre(is(0, 0.5), is(1, 1.0 / 3)));
  EXPECT_EQ(c.run("top-p", {"p=1"}).of(0).size(), 3U);
}

// Two experts (ln 3, 0) and two nulls (1, -9), k = 2: token 0 chooses expert 0 and the first null,
// which costs nothing; the expert's weight is 1. With k = 3: experts 0 and 1, 3/4 and 1/4.
TEST(GateByHand, NullExperts) {
  GateCase c;
  c.add({{std::log(3.0), 0, 1, -9}});
  c.experts = 2;
  EXPECT_THAT(row(c.run("null-experts", {"nulls=2", "k=2"}), 0), ElementsAre(is(0, 1)));
  EXPECT_THAT(row(c.run("null-experts", {"nulls=2", "k=3"}), 0),
              ElementsAre(is(0, 0.75), is(1, 0.25)));
}

// k goes 1, 3, 1, 3, ...; the mask (2, -1, 1) drops expert 1 of the three, never the best.
TEST(GateByHand, TopAny) {
  GateCase c({kLogits});
  EXPECT_EQ(c.run("top-any", {"ks=[1, 3]"}).of(0).size(), 1U);
  c.step = 1;
  EXPECT_EQ(c.run("top-any", {"ks=[1, 3]"}).of(0).size(), 3U);
  c.add({{-2, -1, 1}});
  EXPECT_THAT(row(c.run("top-any", {"ks=[1, 3]", "mask=true"}), 0),
              ElementsAre(is(0, 0.75), is(2, 0.25)));
}

// One tree over four leaves, gamma 1. The root's 0.5 sends all left; the left node's 0 splits in
// half (the cubic at 0): leaves 0 and 1 with 1/2 each. Leaf logits (ln 3, 0): 3/4 and 1/4.
TEST(GateByHand, Comet) {
  GateCase c;
  c.add({{std::log(3.0), 0, 0, 0}}).add({{0.5, 0, 7}});
  c.experts = 4;
  EXPECT_THAT(row(c.run("comet", {"k=1"}), 0), ElementsAre(is(0, 0.75), is(1, 0.25)));
  // Sure splits: one leaf. Right, then right (heap order: root, left, right).
  c.matrices[1] = {-1, 7, -1};
  EXPECT_THAT(row(c.run("comet", {"k=1"}), 0), ElementsAre(is(3, 1)));
  // A quarter of the way: smooth_step(1/4) = -2/64 + 3/8 + 1/2 = 27/32.
  c.matrices[0] = {0, 0, 0, 0};
  c.matrices[1] = {0.25, 1, 1};
  EXPECT_THAT(row(c.run("comet", {"k=1"}), 0), ElementsAre(is(0, 27.0 / 32), is(2, 5.0 / 32)));
  // A far greater leaf that no token reaches takes nothing away.
  c.matrices[0] = {0, 5000, 0, 0};
  EXPECT_THAT(row(c.run("comet", {"k=1"}), 0), ElementsAre(is(0, 27.0 / 32), is(2, 5.0 / 32)));
}

// The path to one of 4 leaves has 2 nodes and 1 leaf: 2 flops * 100 * 3 for a tree; a linear router
// has 4 columns.
TEST(GateByHand, FlopsOfTheGate) {
  GateCase c({kLogits});
  c.experts = 4;
  const std::vector<std::string> one = {"k=1"};
  EXPECT_EQ(gate_flops_per_token(make_gate("comet", one, c.shape()), 100), 600);
  EXPECT_EQ(gate_flops_per_token(make_gate("top-k", one, c.shape()), 100), 800);
  EXPECT_EQ(gate_flops_per_token(make_gate("random", one, c.shape()), 100), 0);
}

TEST(GateByHand, RankK) {
  EXPECT_THAT(row(GateCase({kLogits}).run("rank-k", {"rank=3"}), 0), ElementsAre(is(2, 1.0 / 6)));
  EXPECT_THAT(row(GateCase({kLogits}).run("rank-k"), 0), ElementsAre(is(1, 1.0 / 3)));
}

// The expert is drawn evenly, its weight is its probability.
TEST(GateByHand, Random1) {
  const GateCase c(std::vector<std::vector<double>>(9000, kLogits));
  const GateChoices out = c.run("random-1");
  for (const std::int64_t n : counts_of(out, 3))
    EXPECT_NEAR(static_cast<double>(n), 3000, 5 * std::sqrt(2000.0));
  const double p[] = {1.0 / 2, 1.0 / 3, 1.0 / 6};
  EXPECT_NEAR(out.weights_of(0)[0], p[out.of(0)[0]], 1e-6);
}

// Two rounds, two tokens: rows 0, 1 are round 0, rows 2, 3 round 1 by the other router.
TEST(GateByHand, Chained) {
  GateCase c({{1, 0}, {0, 1}});
  c.add({{0, 2}, {0, 2}});
  const GateChoices out = c.run("chained", {"k=1", "rounds=2"});
  EXPECT_THAT(out.choices, ElementsAre(0, 1, 1, 1));
}

// Groups {0, 1}, {2, 3}; scores softmax of ln (4, 4, 6, 1) = 4/15, 4/15, 6/15, 1/15. By the sum of
// two: 8/15 against 7/15, so group 0 wins and expert 2 is out. By the greatest: 6/15, so group 1.
TEST(GateByHand, GroupLimited) {
  const GateCase c({{std::log(4.0), std::log(4.0), std::log(6.0), 0}});
  const std::vector<std::string> base = {"k=2", "groups=2", "limit=1", "score=softmax"};
  EXPECT_THAT(row(c.run("group-limited", base), 0), ElementsAre(is(0, 0.5), is(1, 0.5)));
  std::vector<std::string> greatest = base;
  greatest.push_back("group_score=max");
  EXPECT_THAT(row(c.run("group-limited", greatest), 0),
              ElementsAre(is(2, 6.0 / 7), is(3, 1.0 / 7)));
}

// s = (3/4, 2/3, 1/2). A bias of 0.2 lifts expert 2 to 0.7, above expert 1; its weight is still of
// 1/2: 3/5 and 2/5.
TEST(GateByHand, LossFreeBias) {
  GateCase c({kLogits});
  EXPECT_THAT(row(c.run("loss-free-bias"), 0), ElementsAre(is(0, 9.0 / 17), is(1, 8.0 / 17)));
  c.bias = {0, 0, 0.2};
  EXPECT_THAT(row(c.run("loss-free-bias"), 0), ElementsAre(is(0, 0.6), is(2, 0.4)));
}

TEST(GateKeys, MistakesHaveAPlaceAndAHint) {
  const GateCase c({kLogits});
  const auto text = [&](const char* gate, const std::vector<std::string>& set = {}) {
    return error_text([&] { c.run(gate, set); });
  };
  EXPECT_EQ(text("topk"), "there is no gate 'topk'; did you mean 'top-k'?");
  EXPECT_EQ(text("switch", {"capacity=2"}),
            "--set capacity: unknown key 'capacity' in gate 'switch'; possible: capacity_factor");
  EXPECT_EQ(text("top-k", {"k=9"}),
            "--set k: 'k' in gate 'top-k' is 9, but must lie between 1 and 3");
  EXPECT_EQ(text("target-shares", {"shares=[1, x, 2]"}),
            "--set shares: a share is a number from 0 to 1e12");
  EXPECT_EQ(text("target-shares"),
            "gate target-shares:1:1: 0 rows of shares, source ranks: 1; give a matrix [source "
            "rank, expert], or one row for all ranks");
  EXPECT_EQ(text("comet"),
            "gate comet:1:1: 3 experts are no binary tree's leaves; comet needs a power of two");
  EXPECT_EQ(text("hash", {"table=balanced"}),
            "--set table: a balanced table needs the frequency of every token id");
  EXPECT_EQ(text("hard", {"temperature=2"}),
            "--set temperature: only Gumbel noise has a temperature; add gumbel=true");
}

}  // namespace
}  // namespace sim
