// Training steps of a tiny model, worked out by hand to the picosecond.
//
// A layer's forward takes 4 us per micro-batch, its input gradient 5, its weight gradient 3. A
// micro-batch is one sequence of 2 tokens, 128 bf16 values each: 512 B, which one GPU sends another
// over NVLink ports of 256 MB/s in 2 us, after 2 x 250 ns of latency.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/tiny_run.h"

namespace sim {
namespace {

using ::testing::DoubleNear;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr Duration us(double value) {
  return Duration(static_cast<std::int64_t>(value * 1e6 + 0.5));
}

MoeModel tiny_dense(int layers) {
  MoeModel model = testing::tiny_moe(layers, 4, 1);
  for (Layer& layer : model.layers) {
    FfnBlock dense;
    dense.dense_inter = 64;
    layer.blocks[1].body = dense;
  }
  return model;
}

class TrainingStepTest : public ::testing::Test {
 protected:
  TrainingStepTest() {
    costs.once = {{"qkv_proj", 4}, {"qkv_proj_dgrad", 5}, {"qkv_proj_wgrad", 3}};
    scenario.costs = &costs;
    gpus(2, 256e6);
  }
  void gpus(int count, double bytes_per_s, Duration latency = Duration(250'000)) {
    testing::RailPorts ports;
    ports.nvlink = testing::port_of(bytes_per_s, latency);
    scenario.cluster = testing::rail_cluster(1, count, ports);
  }
  void train(const std::string& pipeline, int stages, int micro_batches, int layers) {
    scenario.model = tiny_dense(layers);
    scenario.parallel.pp = stages;
    TrainingWorkload training;
    training.sequence_length = 2;
    training.micro_batches = micro_batches;
    training.zero = 0;
    training.gradients.bucket = Bytes(1);
    training.schedule = make_pipeline_schedule(pipeline, {stages, micro_batches, 0});
    training.parts = spread_layers(layers, training.schedule.parts());
    scenario.training = training;
  }
  static std::int64_t booked(const StepResult& step) {
    std::int64_t sum = 0;
    for (const std::int64_t ps : step.causes) sum += ps;
    return sum;
  }

  testing::FixedCosts costs;
  testing::TinyScenario scenario;
};

// Stage 0: F0 0..4, F1 4..8; stage 1: F0 6.5..10.5, B0 ..18.5, F1 ..22.5, B1 ..30.5.
// Stage 0: B0 from 18.5 + 2.5 = 21 ..29, F2 ..33, B1 (there at 33) ..41.
// Stage 1: F2 from 35.5 ..39.5, B2 ..47.5. Stage 0: B2 from 50 ..58.
TEST_F(TrainingStepTest, OneForwardOneBackward) {
  train("1f1b", 2, 3, 2);
  const auto run = testing::run_tiny(scenario);
  ASSERT_EQ(run->steps.size(), 1u);
  EXPECT_EQ(run->step_time(), us(58));
  EXPECT_EQ(booked(run->steps[0]), us(58).count());
  EXPECT_EQ(run->busy(0), us(3 * 12));
  EXPECT_EQ(run->busy(1), us(3 * 12));
  EXPECT_EQ(run->waited(0), us(58 - 36));
  EXPECT_EQ(run->steps[0].facts.tokens, 3 * 2);
}

// All forwards first. Stage 0: F 0..12. Stage 1: F0 6.5, F1 10.5, F2 14.5..18.5, B2 ..26.5, B1
// ..34.5, B0 ..42.5. Stage 0: B2 from 29, B1 from 37, B0 from 45..53.
TEST_F(TrainingStepTest, AllForwardsFirst) {
  train("gpipe", 2, 3, 2);
  EXPECT_EQ(testing::run_tiny(scenario)->step_time(), us(53));
}

// Full recomputation runs a layer's forward again before its gradients.
TEST_F(TrainingStepTest, RecomputationRunsForwardAgain) {
  train("gpipe", 2, 3, 2);
  scenario.training->recompute.full = true;
  const auto run = testing::run_tiny(scenario);
  EXPECT_EQ(run->busy(0), us(3 * 16));
  Duration again{0};
  for (const TaskSpan& span : run->tasks) {
    if (span.device == DeviceId(0) && span.tag.pass == static_cast<int>(PassKind::kRecompute))
      again += span.end - span.start;
  }
  EXPECT_EQ(again, us(3 * 4));
}

// Sends of half a nanosecond leave the closed form (m + p - 1)(F + B); interleaving v chunks leaves
// (m + (p - 1) / v)(F + B) of as many layers.
TEST_F(TrainingStepTest, BubblesAreThoseOfTheClosedForms) {
  gpus(4, 1e12, Duration(0));
  train("1f1b", 4, 8, 8);  // 2 layers a stage: F + B = 24
  EXPECT_THAT(to_seconds(testing::run_tiny(scenario)->step_time()) * 1e6,
              DoubleNear((8 + 3) * 24, 0.02));
  train("gpipe", 4, 8, 8);
  EXPECT_THAT(to_seconds(testing::run_tiny(scenario)->step_time()) * 1e6,
              DoubleNear((8 + 3) * 24, 0.02));
  train("1f1b", 4, 8, 8);
  scenario.training->schedule = make_pipeline_schedule("interleaved", {4, 8, 2});
  scenario.training->parts = spread_layers(8, 8);
  EXPECT_THAT(to_seconds(testing::run_tiny(scenario)->step_time()) * 1e6,
              DoubleNear((8 + 3.0 / 2) * 24, 0.01));
}

// ZB-H1's bubble is (p - 1)(F + B - 2 W) with B the input gradient's time: F 4, B 4, W 4 gives
// (p - 1) 4 in place of 12 of 1F1B.
TEST_F(TrainingStepTest, SplitGradientsFillTheBubble) {
  gpus(4, 1e12, Duration(0));
  costs.once = {{"qkv_proj", 4}, {"qkv_proj_dgrad", 4}, {"qkv_proj_wgrad", 4}};
  train("zero-bubble", 4, 8, 4);
  EXPECT_THAT(to_seconds(testing::run_tiny(scenario)->step_time()) * 1e6,
              DoubleNear(8 * 12 + 3 * 4, 0.01));
}

// Every schedule does the same work on every stage, in at least that time.
TEST_F(TrainingStepTest, EveryScheduleDoesAllWork) {
  gpus(4, 256e6);
  for (const ScheduleInfo& info : kPipelineSchedules) {
    if (info.name == "given") continue;
    SCOPED_TRACE(info.name);
    train("1f1b", 4, 8, 8);
    scenario.training->schedule =
        make_pipeline_schedule(info.name, {4, 8, info.own_chunks == 0 ? 2 : 0});
    scenario.training->parts = spread_layers(8, scenario.training->schedule.parts());
    const auto run = testing::run_tiny(scenario);
    Duration busy{0};
    for (int gpu = 0; gpu < 4; ++gpu) {
      busy += run->busy(gpu);
      EXPECT_LE(run->busy(gpu), run->step_time());
      EXPECT_EQ(run->busy(gpu) + run->waited(gpu), run->step_time());
    }
    EXPECT_EQ(busy, us(8 * 8 * 12));
    EXPECT_EQ(booked(run->steps[0]), run->step_time().count());
  }
}

// Two replicas: a layer's gradients are (attention 4 x 128 x 128, FFN 3 x 128 x 64, norms 2 x 128)
// x 4 B, the first layer's with the embedding, the last one's with norm and head.
TEST_F(TrainingStepTest, ReductionsOverlapWithTheBackwardPass) {
  train("1f1b", 1, 2, 4);
  gpus(2, 1e12, Duration(0));
  const auto overlapped = testing::run_tiny(scenario);
  scenario.training->gradients.overlap = false;
  const auto after = testing::run_tiny(scenario);
  EXPECT_LT(overlapped->step_time(), after->step_time());
  const auto reduced = [](const testing::TinyResult& run) {
    double payload = 0;
    for (const double link : run.link_payload) payload += link;
    return payload;
  };
  EXPECT_NEAR(reduced(*overlapped), reduced(*after), 4 * 32);  // rounded up per reduction
  // Nothing overlaps: both micro-batches, then the ring's 2 (n - 1) / n of the bytes at 1 TB/s.
  const double layer = 4 * 128 * 128 + 3 * 128 * 64 + 2 * 128;
  const double bytes = 4 * (4 * layer + 2 * 64 * 128 + 128);
  EXPECT_THAT(to_seconds(after->step_time()) * 1e6, DoubleNear(2 * 4 * 12 + bytes / 1e6, 0.01));
  // Sharded: half as much for gradients, half as much for parameters in bf16.
  scenario.training->zero = 1;
  scenario.training->overlap_gathers = false;
  EXPECT_THAT(to_seconds(testing::run_tiny(scenario)->step_time()) * 1e6,
              DoubleNear(2 * 4 * 12 + bytes / 2e6 + bytes / 4e6, 0.01));
}

// A ring passes (ranks - 1) times the gathered buffer round, over all its legs. Two ranks share a
// sequence of 4 tokens: keys and values of 2 heads x (64 + 64) values travel in the forward pass,
// again in the backward pass, and their gradients home.
TEST_F(TrainingStepTest, KeysAndValuesTravelRoundTheContextGroup) {
  train("1f1b", 1, 3, 2);
  scenario.parallel.cp = 2;
  scenario.training->sequence_length = 4;
  const auto run = testing::run_tiny(scenario);
  EXPECT_EQ(run->payload[TaskKind::kContextExchange], 3 * 2 * 3 * (4 * 2 * 128 * 2));
  EXPECT_EQ(run->payload[TaskKind::kAllGather], 0);
}

// A TP group of two gathers a block's 2 x 128 inputs and scatters its outputs; backward gathers
// gradients and inputs and scatters gradients. The ends scatter the embedding's rows and gather
// the head's, and both again backward.
TEST_F(TrainingStepTest, TensorParallelCollectivesOfAStep) {
  train("1f1b", 1, 3, 2);
  scenario.parallel.tp = 2;
  const std::int64_t buffer = 2 * 128 * 2;
  const std::int64_t blocks = 3 * 2 * 2;  // micro-batches, layers, blocks
  const auto run = testing::run_tiny(scenario);
  EXPECT_EQ(run->payload[TaskKind::kAllGather], (blocks * 3 + 3 * 2) * buffer);
  EXPECT_EQ(run->payload[TaskKind::kReduceScatter], (blocks * 2 + 3 * 2) * buffer);
}

// What is sharded is gathered: with two replicas, and with the two copies of DualPipe's model,
// whether the gathers overlap or not.
TEST_F(TrainingStepTest, ShardedParametersAreGatheredOnceAStep) {
  const double layer = 4 * 128 * 128 + 3 * 128 * 64 + 2 * 128;
  const double model = 4 * layer + 2 * 64 * 128 + 128;
  for (const bool overlap : {true, false}) {
    SCOPED_TRACE(overlap);
    train("1f1b", 1, 2, 4);
    scenario.training->zero = 1;
    scenario.training->overlap_gathers = overlap;
    auto run = testing::run_tiny(scenario);
    EXPECT_NEAR(static_cast<double>(run->payload[TaskKind::kParameterGather]), 2 * model, 64);
    EXPECT_NEAR(static_cast<double>(run->payload[TaskKind::kGradientReduction]), 4 * model, 64);
    train("dualpipe", 2, 4, 4);
    scenario.training->zero = 1;
    scenario.training->overlap_gathers = overlap;
    run = testing::run_tiny(scenario);
    EXPECT_NEAR(static_cast<double>(run->payload[TaskKind::kParameterGather]), 2 * model, 64);
    EXPECT_NEAR(static_cast<double>(run->payload[TaskKind::kGradientReduction]), 4 * model, 64);
  }
}

// At the turn of a V a stage goes on with what it has itself: after all that is under way.
TEST_F(TrainingStepTest, TheTurnOfAVWaitsForItsOwnExchange) {
  train("zero-bubble-v", 1, 2, 2);
  scenario.model = testing::tiny_moe(2, 4, 1);
  scenario.routing.assign(2, testing::routing_of({{{0}, {2}}, {{1}, {3}}}, 4));
  const auto run = testing::run_tiny(scenario);
  Time combined{};  // forward of layer 0, micro-batch 0
  for (const PartSpan& part : run->parts) {
    if (part.tag.kind == static_cast<int>(TaskKind::kCombine) && part.tag.layer == 0 &&
        part.tag.micro_batch == 0 && part.tag.pass == 0 && part.device == DeviceId(0))
      combined = part.end;
  }
  for (const TaskSpan& task : run->tasks) {
    if (task.stream == StreamKind::kCompute && task.tag.layer == 1 && task.tag.micro_batch == 0 &&
        task.device == DeviceId(0)) {
      EXPECT_GE(task.start, combined);
    }
  }
}

// Four routed layers on two ranks whose exchanges take about as long as the kernels: beside a
// backward pass a forward's exchanges cost nothing that the kernels do not hide.
TEST_F(TrainingStepTest, PassesBesideEachOtherHideTheirExchanges) {
  costs.per_expert_row = 2;
  gpus(2, 1e12, Duration(1'000'000));  // an exchange takes its 2 us of latency
  const auto step_of = [&](const char* pipeline) {
    train(pipeline, 1, 8, 4);
    scenario.model = testing::tiny_moe(4, 4, 1);
    scenario.routing.assign(4, testing::routing_of({{{0}, {2}}, {{1}, {3}}}, 4));
    return testing::run_tiny(scenario);
  };
  const auto alone = step_of("1f1b");
  const auto beside = step_of("1f1b-overlap");
  EXPECT_EQ(alone->busy(0), beside->busy(0));
  const double waits = to_seconds(alone->waited(0));
  EXPECT_GT(waits, 0.2 * to_seconds(alone->busy(0)));
  // What is left: the first forward, the last backward and the begin of each slot.
  EXPECT_LT(to_seconds(beside->waited(0)), 0.35 * waits);
}

// A routed layer on two ranks, as in the decode step's test but of two tokens each. Its rows travel
// to the experts and back in both passes.
TEST_F(TrainingStepTest, GradientsTravelTheWayOfTheRows) {
  scenario.training.reset();
  train("1f1b", 1, 1, 1);
  scenario.model = testing::tiny_moe(1, 4, 1);
  scenario.routing = {testing::routing_of({{{0}, {2}}, {{3}, {3}}}, 4)};
  costs.per_expert_row = 4;
  const auto run = testing::run_tiny(scenario);
  EXPECT_THAT(run->dispatched,
              UnorderedElementsAre(Pair(Pair(0, 0), 2 * 256), Pair(Pair(0, 1), 2 * 256),
                                   Pair(Pair(1, 1), 2 * 512)));
  EXPECT_THAT(run->combined,
              UnorderedElementsAre(Pair(Pair(0, 0), 2 * 256), Pair(Pair(1, 0), 2 * 256),
                                   Pair(Pair(1, 1), 2 * 512)));
  const int experts = static_cast<int>(TaskKind::kExperts);
  EXPECT_EQ(run->compute_time(0, experts), us(3 * 4));  // forward, input, weights
  EXPECT_EQ(run->compute_time(1, experts), us(3 * 3 * 4));
  EXPECT_EQ(run->steps[0].facts.blocks[0].rows, 4);
}

}  // namespace
}  // namespace sim
