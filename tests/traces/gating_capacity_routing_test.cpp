#include "traces/gating/capacity_routing.h"

#include <gtest/gtest.h>

#include <numeric>

#include "tests/traces/temp_file.h"
#include "traces/synthetic/synthetic.h"

namespace sim {
namespace {

using testing::error_text;
using Counts = std::vector<std::int64_t>;

// The same routing whenever it is asked.
class Fixed : public RoutingSource {
 public:
  explicit Fixed(LayerRouting routing) : routing_(std::move(routing)) {}
  void fill(int, int, LayerRouting& out) override { out = routing_; }
  int experts(int) const override { return routing_.experts; }
  int layers() const override { return 1; }
  ReuseReport reuse() const override { return {}; }
  std::string description() const override { return "fixed"; }
  std::vector<std::string> warnings() const override { return {}; }

 private:
  LayerRouting routing_;
};

// Two ranks with three tokens each, top-2 of 4 experts.
LayerRouting six_tokens() {
  LayerRouting routing;
  routing.ranks = 2;
  routing.experts = 4;
  routing.rank_begin = {0, 3, 6};
  routing.choice_begin = {0, 2, 4, 6, 8, 10, 12};
  routing.choices = {0, 1, 0, 2, 0, 3, 0, 1, 1, 2, 3, 1};
  routing.counts = {3, 1, 1, 1, 1, 3, 1, 1};
  return routing;
}

struct Filled : LayerRouting {
  std::int64_t dropped = 0;
};

Filled filled(const LayerRouting& routing, const CapacityRule& rule, int group_ranks = 2,
              const std::vector<float>& weights = {}) {
  Filled out;
  const auto source = with_capacity(std::make_unique<Fixed>(routing), rule, 2, group_ranks,
                                    std::make_shared<std::vector<float>>(weights));
  source->fill(0, 0, out);
  out.dropped = source->dropped(0);
  return out;
}

CapacityRule rule_of(double factor, CapacityScope scope) {
  CapacityRule rule;
  rule.kind = CapacityKind::kFixed;
  rule.factor = factor;
  rule.scope = scope;
  return rule;
}

// Factor 1: ceil(2 * 3 / 4) = 2 rows per expert and rank. Rank 0's third token finds expert 0 full;
// rank 1's last one finds expert 1 full, taken by a first and an earlier second choice.
TEST(CapacityRouting, EachRankHasItsShare) {
  const Filled out = filled(six_tokens(), rule_of(1, CapacityScope::kPerSourceRank));
  EXPECT_EQ(out.choices, (std::vector<std::uint16_t>{0, 1, 0, 2, 3, 0, 1, 1, 2, 3}));
  EXPECT_EQ(out.choice_begin, (Counts{0, 2, 4, 5, 7, 9, 10}));
  EXPECT_EQ(out.counts, (Counts{2, 1, 1, 1, 1, 2, 1, 1}));
  EXPECT_EQ(out.rank_begin, (Counts{0, 3, 6}));
  EXPECT_EQ(out.dropped, 2);
}

// ceil(2 * 6 / 4) = 3 rows per expert: the fourth first choice of expert 0 is rank 1's, and expert
// 1 goes to a first choice and two earlier second ones. Groups of one rank share nothing.
TEST(CapacityRouting, RanksOfAGroupShareTheCapacity) {
  const Filled out = filled(six_tokens(), rule_of(1, CapacityScope::kTogether));
  EXPECT_EQ(out.choices, (std::vector<std::uint16_t>{0, 1, 0, 2, 0, 3, 1, 1, 2, 3}));
  EXPECT_EQ(out.counts, (Counts{3, 1, 1, 1, 0, 2, 1, 1}));
  EXPECT_EQ(out.dropped, 2);
  const LayerRouting alone = filled(six_tokens(), rule_of(1, CapacityScope::kTogether), 1);
  EXPECT_EQ(alone.choices, filled(six_tokens(), rule_of(1, CapacityScope::kPerSourceRank)).choices);
  EXPECT_EQ(alone.counts, (Counts{2, 1, 1, 1, 1, 2, 1, 1}));
}

TEST(CapacityRouting, TheGreatestWeightsStay) {
  // Of rank 0 the last token weighs most, so expert 0 is full for the second.
  const std::vector<float> weights = {0.5F, 0.1F, 0.4F, 0.1F, 0.9F, 0.1F,
                                      0.5F, 0.5F, 0.5F, 0.5F, 0.5F, 0.5F};
  CapacityRule rule = rule_of(1, CapacityScope::kPerSourceRank);
  rule.priority = OverflowPriority::kScore;
  EXPECT_EQ(filled(six_tokens(), rule, 2, weights).choices,
            (std::vector<std::uint16_t>{0, 1, 2, 0, 3, 0, 1, 1, 2, 3}));
  EXPECT_EQ(error_text([&] { filled(six_tokens(), rule); }),
            "overflow by score needs gate weights, and this routing has none; use priority: order, "
            "or a trace with gate weights");
}

TEST(CapacityRouting, CountsAreExactWhereTheyCanBe) {
  LayerRouting counted = six_tokens();
  counted.per_token = false;
  counted.choices.clear();
  counted.choice_begin.clear();
  const Filled out = filled(counted, rule_of(1, CapacityScope::kPerSourceRank));
  EXPECT_EQ(out.counts, (Counts{2, 1, 1, 1, 1, 2, 1, 1}));
  EXPECT_EQ(out.dropped, 2);
  EXPECT_EQ(filled(counted, rule_of(2, CapacityScope::kTogether)).counts, counted.counts);
  EXPECT_EQ(error_text([&] { filled(counted, rule_of(1, CapacityScope::kTogether)); }),
            "a step that is counted does not know whose rows overflow a capacity that ranks share; "
            "use capacity per: source-rank, or raise the token budget of the routing");
}

// What is left and what is dropped are the choices; nobody passes the capacity; room for all drops
// nothing.
TEST(CapacityRouting, RowsAndDropsAreTheChoices) {
  SyntheticSpec spec;
  spec.exponent = 1.2;
  for (const std::int64_t budget : {std::int64_t{1} << 22, std::int64_t{0}}) {
    spec.token_budget = budget;
    std::int64_t before = -1;
    for (const double factor : {0.5, 1.0, 1.25, 2.0, 16.0}) {
      const auto source = with_capacity(make_synthetic(spec, {64}, 4, Counts(6, 100), 3),
                                        rule_of(factor, CapacityScope::kPerSourceRank), 4, 6);
      LayerRouting out;
      source->fill(1, 0, out);
      const std::int64_t rows =
          std::accumulate(out.counts.begin(), out.counts.end(), std::int64_t{0});
      const std::int64_t dropped = source->dropped(0);
      EXPECT_EQ(rows + dropped, 6 * 100 * 4);
      const std::int64_t capacity = expert_capacity(factor, 100, 4, 64);
      for (const std::int64_t count : out.counts) EXPECT_LE(count, capacity);
      if (before >= 0) EXPECT_LT(dropped, before);
      before = dropped;
    }
    EXPECT_EQ(before, 0);
  }
}

}  // namespace
}  // namespace sim
