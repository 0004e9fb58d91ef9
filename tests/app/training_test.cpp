// Training scenarios through the command: what is refused with which words, and what must hold
// between runs.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/app/database.h"
#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class Training : public Refusal {
 protected:
  static std::string scenario(const std::string& parallel, const std::string& workload,
                              const std::string& more = "") {
    return "model: model.yaml\ncluster: {use: hgx-h100, nodes: 1}\nparallel: {" + parallel +
           "}\nworkload: {kind: training, sequence_length: 256, " + workload +
           "}\nrouting: {synthetic: {uniform: true}}\n" + more;
  }
  nlohmann::json run(const std::string& yaml, const std::string& database = "r.db") {
    folder_.write("s.yaml", yaml);
    const CommandResult result =
        simulate(folder_, {"run", "s.yaml", "--json", "--results", database});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return nlohmann::json::parse(result.out);
  }
  double metric(const std::string& yaml, const std::string& name) {
    return run(yaml)["metrics"][name];
  }
};

TEST_F(Training, WhatCannotBeIsRefusedWithItsReason) {
  EXPECT_EQ(refused_scenario(scenario("pp: 4, ep: 2", "micro_batches: 4")),
            "scenario.yaml: the pipeline cuts the model into 4 parts, but it has only 3 layers; "
            "lower parallel.pp or schedule.chunks\n");
  EXPECT_EQ(refused_scenario(scenario("pp: 3", "micro_batches: 4")),
            "scenario.yaml:3:11: pp 3 does not divide the GPUs: the cluster has 8 GPUs; "
            "change it, or the cluster's nodes\n");
  EXPECT_EQ(refused_scenario(scenario("tp: 2, cp: 2, pp: 2, dp: 2", "micro_batches: 4")),
            "scenario.yaml:3:11: tp x cp x dp x pp is 16, but the cluster has 8 GPUs; "
            "leave one of them out, or change the cluster's nodes\n");
  EXPECT_THAT(
      refused_scenario(scenario("tp: 2", "global_batch: 6")),
      HasSubstr("a global batch of 6 sequences is no multiple of dp x micro_batch = 4 x 1"));
  EXPECT_THAT(refused_scenario(scenario("pp: 2", "micro_batches: 4, tokens_per_gpu: 8")),
              HasSubstr("tokens_per_gpu"));
  EXPECT_THAT(refused_scenario(scenario("pp: 2", "micro_batches: 3",
                                        "schedule: {pipeline: interleaved, chunks: 2}\n")),
              HasSubstr("interleaved"));
  EXPECT_THAT(refused_scenario(scenario("pp: 2", "micro_batches: 2", "training: {zero: 4}\n")),
              HasSubstr("zero"));
  EXPECT_THAT(
      refused_scenario(scenario("pp: 2", "micro_batches: 2", "training: {recompute: [wine]}\n")),
      HasSubstr("'wine' is not a module that can be recomputed; possible: norms, attention_core"));
}

TEST_F(Training, KeysWithoutEffectAreTold) {
  folder_.write("s.yaml", scenario("pp: 2, ep: 4", "micro_batches: 2",
                                   "training: {zero: 0, parameters: {overlap: false}, recompute: "
                                   "[mla_up, norms]}\n"));
  const std::string out = simulate(folder_, {"check", "s.yaml"}).out;
  EXPECT_THAT(out, HasSubstr("warning: training.parameters.overlap has no effect: ZeRO 0 shards no "
                             "parameters"));
  EXPECT_THAT(out, HasSubstr("warning: training.recompute has no effect: the model has no mla_up"));
}

TEST_F(Training, AScheduleThatDeadlocksPrintsItsCycle) {
  const std::string text = refused_scenario(
      scenario("pp: 2", "micro_batches: 2",
               "schedule: {pipeline: given, order: [[F0, B0, F1, B1], [F1, B1, F0, B0]]}\n"));
  EXPECT_THAT(text, AllOf(HasSubstr("stage 0"), HasSubstr("waits for"), HasSubstr("stage 1")));
}

TEST_F(Training, MemoryThatDoesNotFitSaysWhy) {
  const std::string big =
      scenario("pp: 2", "micro_batches: 512, micro_batch: 512", "schedule: {pipeline: gpipe}\n");
  EXPECT_THAT(
      refused_scenario(big),
      AllOf(HasSubstr("it does not fit: gpu 0 (h100-sxm, stage 0) needs"),
            HasSubstr("512 micro-batch parts are in flight at once"), HasSubstr("activations: ")));
}

TEST_F(Training, PipelinesAreForTraining) {
  folder_.write("good.yaml", kTinyScenario);
  EXPECT_THAT(refused({"run", "good.yaml", "--set", "parallel.pp=2"}),
              HasSubstr("pp, cp and etp above 1 are for training"));
}

// The same seed gives the same bytes, whatever the schedule.
TEST_F(Training, SameScenarioSameDatabase) {
  for (const std::string schedule : {"1f1b", "dualpipe", "zero-bubble"}) {
    const std::string yaml = scenario("pp: 2, ep: 4", "micro_batches: 4, steps: 2",
                                      "schedule: {pipeline: " + schedule + "}\n");
    const auto first = run(yaml, "a.db");
    const auto second = run(yaml, "b.db");
    EXPECT_EQ(first["fingerprint"], second["fingerprint"]) << schedule;
    EXPECT_EQ(simulate(folder_, {"query", "a.db", "dump"}).out,
              simulate(folder_, {"query", "b.db", "dump"}).out);
  }
}

TEST_F(Training, WhatARunLeavesBehind) {
  const nlohmann::json result = run(scenario("pp: 2, tp: 2, ep: 2", "micro_batches: 4"));
  EXPECT_EQ(result["metrics"]["tokens_per_s"].get<double>() *
                result["metrics"]["step_time_s"].get<double>(),
            4 * 2 * 256);  // micro-batches, replicas, tokens
  Database database(folder_.file("r.db"));
  EXPECT_EQ(database.one("SELECT kind FROM runs"), "training");
  // Every stage sends every micro-batch on, forward and backward: 2 x 2 x 4 sends of a rank's 128
  // rows of 512 bf16 values over 2 x 2 pairs.
  EXPECT_EQ(database.one("SELECT sum(bytes) FROM traffic WHERE phase = 'pipeline'"),
            std::to_string(4 * 2 * 4 * 128 * 512 * 2));
  EXPECT_EQ(database.one("SELECT sum(attention_ps + expert_ps + dense_ps + communication_ps + "
                         "other_ps + wait_peer_ps + network_ps + launch_ps + pipeline_bubble_ps + "
                         "idle_end_ps) / 8 FROM devices"),
            database.one("SELECT duration_ps FROM steps"));
  EXPECT_NE(database.one("SELECT sum(pipeline_bubble_ps) FROM devices"), "0");
}

// More micro-batches shrink the bubble; sharding shrinks the memory (stage 3 needs
// more layers than two, which it keeps gathered); recomputing shrinks it
// and takes longer; a capacity drops choices and never takes longer.
TEST_F(Training, WhatATrainingEngineerExpects) {
  const auto with = [](const std::string& workload, const std::string& more = "") {
    return scenario("pp: 2, ep: 4", workload, more);
  };
  EXPECT_GT(metric(with("micro_batches: 2"), "pipeline_bubble_fraction"),
            metric(with("micro_batches: 16"), "pipeline_bubble_fraction"));
  double before = 1e30;
  for (const char* zero : {"0", "1", "2"}) {
    const double bytes =
        metric(with("micro_batches: 2", std::string("training: {zero: ") + zero + "}\n"),
               "peak_memory_bytes");
    EXPECT_LT(bytes, before) << zero;
    before = bytes;
  }
  const std::string full = with("micro_batches: 4", "training: {recompute: full}\n");
  EXPECT_LT(metric(full, "peak_memory_bytes"),
            metric(with("micro_batches: 4"), "peak_memory_bytes"));
  EXPECT_GT(metric(full, "step_time_s"), metric(with("micro_batches: 4"), "step_time_s"));
  folder_.write("drop.yaml", with("micro_batches: 4"));
  const nlohmann::json dropped = nlohmann::json::parse(
      simulate(folder_, {"run", "drop.yaml", "--json", "--set",
                         "routing={synthetic: {zipf: 1}, capacity: {factor: 1}}"})
          .out);
  EXPECT_GT(dropped["metrics"]["dropped_token_fraction"].get<double>(), 0.05);
}

}  // namespace
}  // namespace sim::testing
