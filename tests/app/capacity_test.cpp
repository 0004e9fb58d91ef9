// routing.capacity of a scenario: what is dropped, by hand and in sum.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/app/database.h"
#include "tests/app/refusal.h"
#include "traces/trace_file.h"

namespace sim::testing {
namespace {

using ::testing::HasSubstr;
using Rows = std::vector<std::vector<std::string>>;

class Capacity : public Refusal {
 protected:
  // Summary of good.yaml with `routing`, and its database in `name`.
  nlohmann::json run(const std::string& routing, const std::string& name = "r.db") {
    const CommandResult result =
        simulate(folder_, {"run", "good.yaml", "--json", "--results", name, "--set",
                           "routing=" + routing, "--set", "workload.steps=1"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return nlohmann::json::parse(result.out);
  }
  double dropped(const std::string& routing, const std::string& name = "r.db") {
    return run(routing, name)["metrics"]["dropped_token_fraction"];
  }
  // One token on each of 8 ranks, all for experts 14 and 15, which rank 7 holds; that of rank r has
  // the weights r / 16 and 1 / 32, but rank 5's are 1 and 1 / 32.
  void write_trace(bool weights) {
    TraceHeader header;
    header.experts = {16, 16};
    header.top_k = 2;
    header.has_steps = true;
    header.has_gate_weights = weights;
    TraceWriter writer(folder_.file("t.moetrace"), header);
    const std::vector<std::uint16_t> choices = {14, 15, 14, 15};
    for (int rank = 0; rank < 8; ++rank) {
      const float first = rank == 5 ? 1.0F : static_cast<float>(rank) / 16;
      const std::vector<float> values = {first, 1.0F / 32, first, 1.0F / 32};
      TokenRow row;
      row.source_rank = rank;
      row.choices = choices;
      if (weights) row.gate_weights = values;
      writer.append(row);
    }
    writer.finish();
  }
};

// A factor of 1 over the group: ceil(2 * 8 / 16) = 1 row per expert. One token keeps both choices,
// the first in order, or the one with the greatest weight.
TEST_F(Capacity, OneTokenOfEightIsServedByHand) {
  write_trace(true);
  const std::string dispatched =
      "SELECT DISTINCT source_device, destination_device FROM traffic WHERE phase = 'dispatch' AND "
      "bytes > 0";
  EXPECT_EQ(dropped("{trace: t.moetrace, capacity: {factor: 1, per: together}}", "order.db"),
            0.875);
  EXPECT_EQ(Database(folder_.file("order.db")).rows(dispatched), (Rows{{"0", "7"}}));
  EXPECT_EQ(dropped("{trace: t.moetrace, capacity: {factor: 1, per: together, priority: score}}",
                    "score.db"),
            0.875);
  EXPECT_EQ(Database(folder_.file("score.db")).rows(dispatched), (Rows{{"5", "7"}}));
  // Alone a token never finds an expert full; a factor of 8 has room for all.
  EXPECT_EQ(dropped("{trace: t.moetrace, capacity: {factor: 1}}"), 0);
  EXPECT_EQ(dropped("{trace: t.moetrace, capacity: {factor: 8, per: together}}"), 0);
  // Half of 8 rows: ranks 0 to 3.
  EXPECT_EQ(dropped("{trace: t.moetrace, capacity: {factor: 4, per: together}}", "half.db"), 0.5);
  EXPECT_EQ(Database(folder_.file("half.db")).rows(dispatched + " ORDER BY 1"),
            (Rows{{"0", "7"}, {"1", "7"}, {"2", "7"}, {"3", "7"}}));
}

TEST_F(Capacity, RowsAndDropsAreTheChoicesAndRowsAreWhatTravels) {
  const std::string zipf = "synthetic: {zipf: 2}, capacity: {factor: 1";
  const double fraction = dropped("{" + zipf + "}}");
  const Database db(folder_.file("r.db"));
  // 64 tokens of 2 choices in 2 layers.
  EXPECT_EQ(db.one("SELECT sum(rows + dropped) FROM layers"), "256");
  EXPECT_EQ(db.one("SELECT sum(rows) FROM experts"), db.one("SELECT sum(rows) FROM layers"));
  EXPECT_EQ(db.one("SELECT sum(dropped) FROM layers"), db.one("SELECT dropped_choices FROM steps"));
  EXPECT_GT(fraction, 0.1);
  EXPECT_EQ(fraction, db.number("SELECT sum(dropped) / 256.0 FROM layers"));
  EXPECT_LE(db.number("SELECT max(rows) FROM experts"),
            8);  // ceil(2 * 8 / 16) from each of 8 ranks
  // nccl sends a row of 512 bf16 values for every choice that is left.
  EXPECT_LE(db.number("SELECT sum(bytes) FROM traffic WHERE phase = 'dispatch'"),
            1024 * db.number("SELECT sum(rows) FROM layers"));
  // More room, fewer drops; a token budget of 0 counts, and keeps to the capacity too.
  EXPECT_LT(dropped("{synthetic: {zipf: 2}, capacity: {factor: 2}}"), fraction);
  EXPECT_EQ(dropped("{synthetic: {zipf: 2}}"), 0);
  EXPECT_GT(dropped("{synthetic: {zipf: 2, token_budget: 0}, capacity: {factor: 1}}", "c.db"), 0.1);
  const Database counted(folder_.file("c.db"));
  EXPECT_EQ(counted.one("SELECT sum(rows + dropped) FROM layers"), "256");
  EXPECT_EQ(counted.one("SELECT tokens FROM steps"), "64");
}

TEST_F(Capacity, TheSummaryShowsIt) {
  const auto text = [&](const std::string& routing) {
    return simulate(folder_, {"run", "good.yaml", "--set", "routing=" + routing}).out;
  };
  EXPECT_THAT(text("{workload: hot-rank, capacity: {factor: 1}}"),
              HasSubstr("of the tokens' choices found their expert full"));
  EXPECT_THAT(text("{workload: hot-rank, capacity: {factor: 1}}"),
              HasSubstr("experts take 1 times their share of each rank's choices, overflow by "
                        "order"));
  EXPECT_THAT(text("{workload: hot-rank}"), ::testing::Not(HasSubstr("dropped")));
}

// 8 tokens, all on experts 14 and 15 of 16: each takes 8 rows of 2 * 8 / 16 = 1, a factor of 8. At
// most 4 it is the fixed factor of 4: half of the choices are dropped. For a rank alone, whose
// token has 2 choices of 16 experts, it is 1 row of 1 / 8: 8 as well.
TEST_F(Capacity, AnAdaptiveFactorIsTheFullestExpertOverTheMean) {
  write_trace(false);
  const auto metrics = [&](const std::string& more) {
    return run("{trace: t.moetrace, capacity: {factor: adaptive" + more + "}}")["metrics"];
  };
  for (const char* per : {", per: together", ""}) {
    const nlohmann::json all = metrics(per);
    EXPECT_EQ(all["dropped_token_fraction"], 0);
    EXPECT_EQ(all["capacity_factor_mean"], 8);
    EXPECT_EQ(all["capacity_factor_max"], 8);
  }
  const nlohmann::json half = metrics(", per: together, most: 4");
  EXPECT_EQ(half["dropped_token_fraction"], 0.5);
  EXPECT_EQ(half["capacity_factor_max"], 4);
  const std::string text =
      simulate(folder_, {"run", "good.yaml", "--set",
                         "routing={trace: t.moetrace, capacity: {factor: adaptive, most: 4, per: "
                         "together}}",
                         "--set", "workload.steps=1"})
          .out;
  EXPECT_THAT(text, HasSubstr("capacity    factor 4.00 in the mean, 4.00 at most"));
  EXPECT_THAT(text, HasSubstr("experts take up to 4 times their share of all ranks' choices, "
                              "overflow by order"));
}

TEST_F(Capacity, WhatCannotBeIsRefused) {
  const auto said = [&](const std::string& capacity) {
    return refused_scenario(
        replaced(kTinyScenario, "{zipf: 0.8}", "{zipf: 0.8}, capacity: " + capacity));
  };
  EXPECT_EQ(
      said("{factor: 0}"),
      "scenario.yaml:4:54: 'factor' in capacity is 0, but must be between 1e-06 and 1000000\n");
  EXPECT_EQ(said("{priority: score, factor: 1}"),
            "scenario.yaml:4:56: overflow by score needs gate weights, which only a trace has; use "
            "priority: order\n");
  EXPECT_EQ(said("{factor: 1, kind: adaptive}"),
            "scenario.yaml:4:57: unknown key 'kind' in capacity; possible: factor, most, per, "
            "priority\n");
  EXPECT_EQ(said("{factor: 1, most: 2}"),
            "scenario.yaml:4:63: 'most' is the greatest of the adaptive factors; write factor: "
            "adaptive, or leave it out\n");
  EXPECT_EQ(said("{factor: dropless}"),
            "scenario.yaml:4:54: dropless is what a run without a capacity is; leave out "
            "'capacity'\n");
  EXPECT_EQ(said("{factor: adaptive, most: 0}"),
            "scenario.yaml:4:70: 'most' in capacity is 0, but must be between 1e-06 and 1000000\n");
  EXPECT_EQ(said("{factor: adaptive, priority: order}"),
            "scenario.yaml:4:74: an adaptive factor without a greatest one drops nothing; add "
            "'most'\n");
  write_trace(false);
  EXPECT_EQ(
      refused_scenario(replaced(kTinyScenario, "{synthetic: {zipf: 0.8}}",
                                "{trace: t.moetrace, capacity: {factor: 1, priority: score}}")),
      "t.moetrace: this trace has no gate weights, and overflow by score needs them; use "
      "priority: order\n");
}

}  // namespace
}  // namespace sim::testing
