// Routing functions that balance, mix or draw, each on a case worked by hand.
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

// Four tokens, two experts, k = 1: each expert takes 2. All prefer expert 0 but by less and less;
// expert 0 takes tokens 0 and 1, expert 1 those whose p for it is greatest: 2 and 3.
TEST(GateByHand, ExpertChoice) {
  const GateCase c({{4, 0}, {3, 0}, {2, 0}, {1, 0}});
  const GateChoices out = c.run("expert-choice", {"k=1"});
  EXPECT_THAT(row(out, 0), ElementsAre(is(0, 1 / (1 + std::exp(-4.0)))));
  EXPECT_EQ(out.of(1)[0], 0);
  EXPECT_THAT(row(out, 3), ElementsAre(is(1, 1 / (1 + std::exp(1.0)))));
  EXPECT_EQ(out.of(2)[0], 1);
}

// A token that no expert takes has no row entries: tokens 0 and 1 win at both experts.
TEST(GateByHand, ExpertChoiceLeavesTokensOut) {
  const GateChoices out =
      GateCase({{1, 2, 0}, {2, 1, 0}, {0, 0, 5}, {0, 0, 5}}).run("expert-choice", {"k=1"});
  EXPECT_THAT(counts_of(out, 3), ElementsAre(2, 2, 2));
  EXPECT_EQ(out.of(0).size(), 2U);
}

// Two tokens, two slots, logits (0, ln 3) and (0, 0). Slot 0's mix: (1/2, 1/2); slot 1's: (3/4,
// 1/4). Token 0's output: (1/4, 3/4) of the slots; token 1's: (1/2, 1/2).
TEST(GateByHand, SoftMoe) {
  GateCase c;
  c.add({{0, std::log(3.0)}, {0, 0}});
  c.experts = 2;
  const GateChoices out = c.run("soft-moe");
  EXPECT_TRUE(out.rows_are_slots);
  EXPECT_THAT(out.choices, ElementsAre(0, 1));
  const auto near = [](double x) { return ::testing::DoubleNear(x, 1e-12); };
  EXPECT_THAT(out.dispatch, ElementsAre(near(0.5), near(0.5), near(0.75), near(0.25)));
  EXPECT_THAT(out.combine, ElementsAre(near(0.25), near(0.75), near(0.5), near(0.5)));
}

// Two tokens of one rank, logits (ln 9, 0) and (0, 0): per token 9/10, 1/10 and 1/2, 1/2; merged
// for the rank: mean logits (ln 3, 0): 3/4 and 1/4 for both.
TEST(GateByHand, Merged) {
  GateCase c({{std::log(9.0), 0}, {0, 0}});
  EXPECT_THAT(row(c.run("merged"), 0), ElementsAre(is(0, 0.9), is(1, 0.1)));
  const GateChoices shared = c.run("merged", {"per=source-rank"});
  EXPECT_THAT(row(shared, 0), ElementsAre(is(0, 0.75), is(1, 0.25)));
  EXPECT_THAT(row(shared, 1), ElementsAre(is(0, 0.75), is(1, 0.25)));
}

// Scores (10, 9), (10, 0): both want expert 0. One token each: 9 + 10 = 19 beats 10 + 0.
TEST(GateByHand, BaseTakesTheGreatestTotal) {
  const GateChoices out = GateCase({{10, 9}, {10, 0}}).run("base");
  EXPECT_THAT(row(out, 0), ElementsAre(is(1, 1 / (1 + std::exp(-9.0)))));
  EXPECT_EQ(out.of(1)[0], 0);
}

// The same scores. Scaling leaves the ratio (K00 K11) / (K01 K10) = e^-9 as it is, and both sums
// even: the plan's diagonal is 1/2 * 1 / (1 + e^4.5), so token 0 goes to expert 1 and token 1 to
// expert 0.
TEST(GateByHand, SinkhornComesToTheSame) {
  const GateChoices out = GateCase({{10, 9}, {10, 0}}).run("sinkhorn", {"k=1", "iterations=200"});
  EXPECT_EQ(out.of(0)[0], 1);
  EXPECT_EQ(out.of(1)[0], 0);
  EXPECT_NEAR(out.weights_of(0)[0], 1 / (1 + std::exp(1.0)), 1e-6);  // plain softmax
}

// Frequencies 4, 3, 2, 2, 1 on two experts: 4 | 3, then 2 to the lighter (3 -> 5), 2 to 4 -> 6, 1
// to 5 -> 6. So ids {0, 3} and {1, 2, 4} share an expert each, 6 : 6.
TEST(GateByHand, HashBalancedByFrequency) {
  GateCase c;
  c.experts = 2;
  c.tokens = 5;
  c.token_ids = {0, 1, 2, 3, 4};
  const std::vector<double> frequencies = {4, 3, 2, 2, 1};
  GateShape shape = c.shape();
  shape.token_frequencies = frequencies;
  const GateChoices out =
      route(make_gate("hash", std::vector<std::string>{"table=balanced"}, shape), c.input());
  EXPECT_EQ(out.of(0)[0], out.of(3)[0]);
  EXPECT_EQ(out.of(1)[0], out.of(2)[0]);
  EXPECT_EQ(out.of(1)[0], out.of(4)[0]);
  EXPECT_NE(out.of(0)[0], out.of(1)[0]);
}

// The same id has the same experts in every step and place; another layer has another table.
TEST(GateByHand, HashGoesByTokenIdOnly) {
  GateCase c;
  c.experts = 64;
  c.tokens = 4;
  c.token_ids = {7, 8, 7, 9};
  const GateChoices out = c.run("hash");
  EXPECT_EQ(row(out, 0), row(out, 2));
  EXPECT_NE(row(out, 0), row(out, 1));
  c.step = 9;
  EXPECT_EQ(row(c.run("hash"), 0), row(out, 0));
  c.layer = 1;
  EXPECT_NE(row(c.run("hash"), 0), row(out, 0));
  c.token_ids.clear();
  EXPECT_EQ(error_text([&] { c.run("hash"); }),
            "gate 'hash' needs token ids, and these tokens have none");
}

// 2 of 4 experts: each with probability 1/2, each of the 6 pairs 1/6.
TEST(GateByHand, RandomIsUniform) {
  GateCase c;
  c.experts = 4;
  c.tokens = 24000;
  const GateChoices out = c.run("random");
  for (const std::int64_t n : counts_of(out, 4))
    EXPECT_NEAR(static_cast<double>(n), 12000, 5 * std::sqrt(6000.0));
  std::int64_t pair = 0;
  for (std::int64_t t = 0; t < c.tokens; ++t)
    pair += out.of(t)[0] + out.of(t)[1] == 5 && out.of(t)[0] * out.of(t)[1] == 6 ? 1 : 0;
  EXPECT_NEAR(static_cast<double>(pair), 4000, 5 * std::sqrt(24000 * 5.0 / 36));
  EXPECT_THAT(out.weights_of(0), ElementsAre(FloatNear(0.5F, 0), FloatNear(0.5F, 0)));
  const GateChoices step = c.run("random", {"per=step"});
  EXPECT_EQ(row(step, 0), row(step, 23999));
}

// 10 tokens on 4 experts: 3, 3, 2, 2.
TEST(GateByHand, RandomPartition) {
  GateCase c;
  c.experts = 4;
  c.tokens = 10;
  EXPECT_THAT(counts_of(c.run("random-partition"), 4), ElementsAre(3, 3, 2, 2));
}

// Two domains on 4 experts: domain 0 has experts 0 and 1, domain 1 has 2 and 3.
TEST(GateByHand, DomainRandom) {
  GateCase c;
  c.experts = 4;
  c.tokens = 1000;
  for (int t = 0; t < 1000; ++t) c.domains.push_back(t % 2);
  const GateChoices out = c.run("domain-random");
  for (std::int64_t t = 0; t < 1000; ++t) EXPECT_EQ(out.of(t)[0] / 2, t % 2);
  for (const std::int64_t n : counts_of(out, 4))
    EXPECT_NEAR(static_cast<double>(n), 250, 5 * std::sqrt(125.0));
}

// Shares 3 : 1 of rank 0's four tokens, 0 : 1 of rank 1's one. All four like expert 1; the one that
// likes it most by the difference, token 2, gets it. Weight: softmax of (0, 3) at 1.
TEST(GateByHand, TargetShares) {
  GateCase c({{0, 1}, {0, 2}, {0, 3}, {0, 1}, {9, 0}});
  c.source_ranks = {0, 0, 0, 0, 1};
  const GateChoices out = c.run("target-shares", {"shares=[[3, 1], [0, 1]]"});
  EXPECT_THAT(out.choices, ElementsAre(0, 0, 1, 0, 1));
  EXPECT_NEAR(out.weights_of(2)[0], 1 / (1 + std::exp(-3.0)), 1e-6);
}

// Tile 2, five tokens, top-1: expert 0 has 3 (tokens 0, 1, 2), expert 1 has 2. 3 is half a tile
// above 2: up to 4, with the best token that is not there yet, token 3. Down: 2, without its
// least liked, token 2.
TEST(GateByHand, TokenRounding) {
  const GateCase c({{5, 0}, {4, 0}, {1, 0}, {0, 1}, {0, 9}});
  const GateChoices near = c.run("token-rounding", {"k=1", "tile=2"});
  EXPECT_THAT(counts_of(near, 2), ElementsAre(4, 2));
  EXPECT_EQ(near.of(3).size(), 2U);
  const GateChoices down = c.run("token-rounding", {"k=1", "tile=2", "round=down"});
  EXPECT_THAT(counts_of(down, 2), ElementsAre(2, 2));
  EXPECT_EQ(down.of(2).size(), 0U);
}

}  // namespace
}  // namespace sim
