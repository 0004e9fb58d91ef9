// Mistakes that were found once: each stays found.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "sim/app/run_setup.h"
#include "sim/app/simulation.h"

namespace sim {
namespace {

constexpr const char* kBlocks = R"(
name: small
source: made up for a test
hidden: 256
vocabulary: 1000
max_context: 4096
tied_embeddings: false
blocks:
  attention: {kind: grouped, heads: 8, kv_heads: 4, head_dim: 32, value_dim: 32}
  dense: {kind: ffn, dense_inter: 512}
  routed: {kind: ffn, expert_inter: 128, shared_experts: 1, shared_inter: 128, routing: {experts: 16, top_k: 2}}
layers:
)";

Scenario scenario_of(const std::string& layers, const std::vector<std::string>& assignments) {
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) /
      (std::string("review-") + ::testing::UnitTest::GetInstance()->current_test_info()->name());
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "model.yaml") << kBlocks << layers;
  std::ofstream(folder / "scenario.yaml") << "model: " << (folder / "model.yaml").string() << R"(
cluster: {use: hgx-h100, nodes: 1}
workload: {kind: decode, tokens_per_gpu: 16, context: 100, steps: 2}
routing: {synthetic: {zipf: 0.8}}
communication: {dispatch: deepep-low-latency}
)";
  return read_scenario((folder / "scenario.yaml").string(), {assignments, {}}, Catalog());
}

Bytes item(const std::vector<MemoryItem>& items, const std::string& name) {
  for (const MemoryItem& each : items) {
    if (each.name == name) return each.bytes;
  }
  return Bytes(-1);
}

TEST(FoundInReview, AnEncoderDoesNotRunInDecode) {
  const std::string decoder = "  - {repeat: 2, pattern: [[attention, routed]]}\n";
  const std::string both =
      "  - {repeat: 3, pattern: [[attention, routed]], stack: encoder}\n" + decoder;
  const RunOutcome alone = run_scenario(scenario_of(decoder, {}), {});
  const RunOutcome with_encoder = run_scenario(scenario_of(both, {}), {});
  // As many routed layers run: the start-ups of their exchanges are the same to the picosecond.
  const std::size_t startup = static_cast<std::size_t>(Cause::kStartup);
  EXPECT_GT(alone.totals.causes[startup], 0);
  EXPECT_EQ(with_encoder.totals.causes[startup], alone.totals.causes[startup]);
}

TEST(FoundInReview, ALayerWithTwoRoutedBlocksCountsOnce) {
  const RunOutcome outcome = run_scenario(
      scenario_of("  - {repeat: 2, pattern: [[attention, routed, routed]]}\n", {}), {});
  Duration experts{0};
  for (const Duration each : outcome.totals.expert) experts += each;
  const double steps = 2, devices = 8;
  EXPECT_NEAR(outcome.metric("expert_time_s"), to_seconds(experts) / steps / devices, 1e-10);
  EXPECT_LT(outcome.metric("expert_time_s"), outcome.metric("step_time_s"));
}

TEST(FoundInReview, WhatEveryRankRunsWholeIsWholeInItsMemory) {
  const std::string layers =
      "  - {pattern: [[attention, dense]]}\n  - {pattern: [[attention, routed]]}\n";
  const auto one = check_memory(scenario_of(layers, {"parallel={tp: 1}"})).front();
  const auto four = check_memory(scenario_of(layers, {"parallel={tp: 4}"})).front();
  for (const char* whole : {"weights: lm_head", "weights: embedding", "weights: shared_experts"}) {
    EXPECT_GT(item(one, whole), Bytes(0)) << whole;
    EXPECT_EQ(item(four, whole), item(one, whole)) << whole;
  }
  EXPECT_EQ(item(four, "weights: dense_ffn").count() * 4, item(one, "weights: dense_ffn").count());
}

TEST(FoundInReview, AnEmptySectionNeedsItsKeys) {
  try {
    scenario_of("  - {pattern: [[attention, routed]]}\n", {"workload="});
    FAIL() << "nothing says what to run";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what()),
              "--set workload: workload needs the key 'kind'\n--set workload: workload needs the "
              "key 'tokens_per_gpu'\n"
              "--set workload: workload needs the key 'context'");
  }
}

TEST(FoundInReview, KeysWithoutEffectAreWarnings) {
  const Scenario scenario = scenario_of(
      "  - {pattern: [[attention, routed]]}\n",
      {"placement={estimate: oracle, replica_split: nearest}", "cluster.spraying=ideal"});
  EXPECT_EQ(scenario.warnings,
            (std::vector<std::string>{
                "placement.estimate has no effect: this placement does not look at loads",
                "placement.replica_split has no effect: there are no redundant experts",
                "cluster.spraying has no effect: there is one node"}));
}

}  // namespace
}  // namespace sim
