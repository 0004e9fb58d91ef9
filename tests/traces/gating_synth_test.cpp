// Traces made by a routing function.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/traces/temp_file.h"
#include "traces/gating/synth_gate.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

using testing::error_text;
using testing::TempFile;

GateTrace small(std::string_view gate) {
  GateTrace trace;
  trace.gate = gate;
  trace.model = "test";
  trace.layers = 2;
  trace.experts = 8;
  trace.top_k = 2;
  trace.steps = 2;
  trace.ranks = 2;
  trace.tokens_per_rank = 24;
  if (gate == "target-shares") trace.set = {"shares=[1, 1, 1, 1, 1, 1, 1, 9]"};
  if (gate == "token-rounding") trace.set = {"tile=8"};
  if (gate == "domain-random") trace.set = {"domains=2"};
  return trace;
}

// Each reads back with its steps, ranks, weights and as many choices as were reported; twice the
// same gives the same bytes.
TEST(SynthGate, EveryGateWritesATrace) {
  for (const GatingFunction& function : gating_functions()) {
    SCOPED_TRACE(std::string(function.name));
    const GateTrace trace = small(function.name);
    const TempFile file("a.moetrace");
    const TempFile again("a.moetrace");
    const GateTraceReport report = synth_gate(trace, 5, file.path());
    synth_gate(trace, 5, again.path());
    EXPECT_EQ(file.read(), again.read());
    TraceReader reader(file.path());
    EXPECT_TRUE(reader.header().has_steps);
    EXPECT_TRUE(reader.header().has_gate_weights);
    EXPECT_EQ(reader.index().rows, report.rows);
    EXPECT_EQ(reader.index().choices, report.choices);
    EXPECT_EQ(reader.header().has_token_ids, function.name != "soft-moe");
    EXPECT_EQ(reader.header().has_rounds, function.name == "chained");
    TokenChunk chunk;
    ASSERT_TRUE(reader.next(chunk));
    EXPECT_EQ(chunk.step.back(), 1);
    EXPECT_EQ(chunk.source_rank.back(), 1);
    EXPECT_EQ(report.rows, function.name == "soft-moe"  ? 2 * 2 * 8
                           : function.name == "chained" ? 2 * 2 * 48
                                                        : 2 * 48);
  }
}

TEST(SynthGate, DomainsBecomeTags) {
  const TempFile file("a.moetrace");
  synth_gate(small("domain-random"), 5, file.path());
  TraceReader reader(file.path());
  EXPECT_THAT(reader.index().tags, ::testing::ElementsAre("domain 0", "domain 1"));
  TokenChunk chunk;
  ASSERT_TRUE(reader.next(chunk));
  for (int row = 0; row < chunk.rows; ++row) {
    EXPECT_EQ(chunk.column(0).at(chunk.column(0).begin(row)) / 4,
              chunk.tag[static_cast<std::size_t>(row)]);
  }
}

// Every term, pushed, lowers the imbalance of skewed scores; a coefficient of 0 changes nothing.
TEST(SynthGate, BalanceTermsBalance) {
  const auto last = [](std::string_view gate, const std::vector<std::string>& more) {
    GateTrace trace = small(gate);
    trace.steps = 30;
    trace.tokens_per_rank = 256;
    trace.set = {"scores.popularity=2"};
    trace.set.insert(trace.set.end(), more.begin(), more.end());
    const TempFile file("a.moetrace");
    return synth_gate(trace, 5, file.path()).last_imbalance;
  };
  const double free = last("top-k", {});
  EXPECT_GT(free, 2.5);
  for (const char* term : {"switch", "gshard", "importance", "variance", "load", "size-weighted"}) {
    EXPECT_LT(last("top-k", {std::string("balance.term=") + term, "balance.coefficient=0.5"}),
              0.8 * free)
        << term;
  }
  EXPECT_EQ(last("top-k", {"balance.term=switch", "balance.coefficient=0"}), free);
  EXPECT_LT(last("loss-free-bias", {"balance.term=loss-free", "balance.coefficient=0.02"}),
            0.8 * free);
  EXPECT_LT(last("null-experts", {"balance.term=null-bucket", "balance.coefficient=0.5"}),
            last("null-experts", {}));
}

// Null choices count on the null that was chosen: were they all on one, the switch term would push
// every token towards the other nulls. The choices that are left stay near what they were.
TEST(SynthGate, EachNullHasItsOwnCount) {
  const auto choices = [](const std::vector<std::string>& set, std::string_view gate) {
    GateTrace trace = small(gate);
    trace.steps = 30;
    trace.tokens_per_rank = 256;
    trace.set = set;
    const TempFile file("a.moetrace");
    return synth_gate(trace, 5, file.path()).choices_per_row;
  };
  const double free = choices({}, "null-experts");
  for (const char* term : {"switch", "gshard"}) {
    EXPECT_NEAR(
        choices({std::string("balance.term=") + term, "balance.coefficient=0.5"}, "null-experts"),
        free, 0.25)
        << term;
  }
}

// Terms look at the choices a token has in the mean, not at the most it could have.
TEST(SynthGate, VarianceEvensOutAGateOfVaryingCount) {
  GateTrace trace = small("top-p");
  trace.steps = 30;
  trace.tokens_per_rank = 256;
  trace.set = {"scores.popularity=2"};
  const TempFile file("a.moetrace");
  const double free = synth_gate(trace, 5, file.path()).last_imbalance;
  trace.set.insert(trace.set.end(), {"balance.term=variance", "balance.coefficient=0.5"});
  EXPECT_LT(synth_gate(trace, 5, file.path()).last_imbalance, free);
}

// One round of two routers is pushed by its own choices: the loads of the second, which is not
// pushed, would keep the first from its balance.
TEST(SynthGate, ChainedRoundsArePushedByTheirOwnCounts) {
  GateTrace trace = small("chained");
  trace.steps = 30;
  trace.layers = 1;
  trace.tokens_per_rank = 256;
  trace.set = {"scores.popularity=2", "balance.term=switch", "balance.coefficient=0.5"};
  const TempFile file("a.moetrace");
  synth_gate(trace, 5, file.path());
  TraceReader reader(file.path());
  TokenChunk chunk;
  std::vector<std::int64_t> counts(8, 0);  // of round 0 in the last step
  while (reader.next(chunk)) {
    for (int row = 0; row < chunk.rows; ++row) {
      const auto r = static_cast<std::size_t>(row);
      if (chunk.step[r] != 29 || chunk.round[r] != 0) continue;
      const auto& column = chunk.column(0);
      for (auto c = column.begin(row); c < column.begin(row + 1); ++c)
        ++counts[static_cast<std::size_t>(column.at(c))];
    }
  }
  EXPECT_LT(*std::max_element(counts.begin(), counts.end()), 1.6 * 512 * 2 / 8);
}

// 24 tokens of a rank, 8 experts, factor 1: 3 rows per expert and rank. The gate's rule is applied
// to the report, not to the trace.
TEST(SynthGate, ReportsWhatItsCapacityWouldDrop) {
  GateTrace trace = small("switch");
  trace.set = {"capacity_factor=1"};
  const TempFile file("a.moetrace");
  const GateTraceReport report = synth_gate(trace, 5, file.path());
  EXPECT_EQ(report.choices, 2 * 2 * 48);
  EXPECT_GT(report.dropped_choices, 0);
  trace.set = {"capacity_factor=8"};
  EXPECT_EQ(synth_gate(trace, 5, file.path()).dropped_choices, 0);
}

TEST(SynthGate, RefusesWhatCannotBe) {
  const TempFile file("a.moetrace");
  const auto text = [&](std::string_view gate, const std::vector<std::string>& set, int experts = 8,
                        std::int64_t tokens = 24) {
    GateTrace trace = small(gate);
    trace.set = set;
    trace.experts = experts;
    trace.tokens_per_rank = tokens;
    return error_text([&] { synth_gate(trace, 5, file.path()); });
  };
  EXPECT_EQ(text("softmax", {}, 256),
            "gate 'softmax' gives a token 256 experts of a layer, a trace holds 255; take fewer "
            "experts");
  EXPECT_EQ(text("top-k", {}, 1024, 1 << 18),
            "a step of 524288 tokens, 2 layers and 1024 experts needs more than 1 GiB with gate "
            "'top-k'; take fewer tokens per rank, ranks or layers");
  EXPECT_EQ(text("top-k", {"scores.nois=1"}),
            "--set scores.nois: unknown key 'nois' in scores; did you mean 'noise'?");
  EXPECT_EQ(text("random", {"balance.term=switch", "balance.coefficient=1"}),
            "--set balance.term: gate 'random' has no logit per expert to push");
  EXPECT_EQ(text("top-k", {"balance.term=loss-free", "balance.coefficient=1"}),
            "--set balance.term: loss-free moves the bias of the selection; use the gate "
            "loss-free-bias or group-limited");
  EXPECT_EQ(text("frozen-random", {"balance.term=switch", "balance.coefficient=1"}),
            "--set balance.term: the router of gate 'frozen-random' is never trained");
  EXPECT_EQ(text("top-p", {"balance.term=load", "balance.coefficient=1"}),
            "--set balance.term: load is a token's chance to be among the k best, and gate 'top-p' "
            "has no fixed k; use switch or importance");
}

}  // namespace
}  // namespace sim
