// One decode step on two GPUs, worked out by hand to the picosecond.
//
// Two GPUs share NVLink ports of 256 MB/s with 250 ns per link: a token copy of 128 bf16 values,
// 256 B, takes 1 us after 0.5 us of latency. A copy to itself is read and written at 5.12 GB/s:
// 0.1 us. Rank 0 holds experts 0 and 1, rank 1 experts 2 and 3; top-1.
//   rank 0 has 3 tokens: for expert 0 (its own) and twice for expert 2 (rank 1)
//   rank 1 has 1 token, for expert 3 (its own)
// so rank 0 runs 1 row and rank 1 runs 3. Microseconds: embedding 1, attention 4 per token, router
// 2, permute 1, shared expert 6, experts 4 per row, weighted sum 3, LM head 5; the host takes 2
// before a step.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/tiny_run.h"

namespace sim {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr Duration us(double value) {
  return Duration(static_cast<std::int64_t>(value * 1e6 + 0.5));
}

class DecodeStep : public ::testing::Test {
 protected:
  DecodeStep() {
    costs.once = {{"embedding", 1},      {"router", 2},       {"permute_quantise", 1},
                  {"shared_up_proj", 6}, {"weighted_sum", 3}, {"lm_head", 5}};
    costs.per_token = {{"qkv_proj", 4}};
    costs.per_expert_row = 4;
    testing::RailPorts ports;
    ports.nvlink = testing::port_of(256e6, Duration(250'000));
    scenario.cluster = testing::rail_cluster(1, 2, ports);
    scenario.costs = &costs;
    scenario.copy_bandwidth = Bandwidth(5.12e9);
    scenario.host.per_step = us(2);
    scenario.routing = {testing::routing_of({{{0}, {2}, {2}}, {{3}}}, 4)};
  }
  // The ranks and their ports twice over: ranks 2 and 3 are a second node.
  void two_nodes() {
    testing::RailPorts ports;
    ports.nvlink = testing::port_of(256e6, Duration(250'000));
    scenario.cluster = testing::rail_cluster(2, 2, ports);
  }
  static std::int64_t booked(const StepResult& step) {
    std::int64_t sum = 0;
    for (const std::int64_t ps : step.causes) sum += ps;
    return sum;
  }

  testing::FixedCosts costs;
  testing::TinyScenario scenario;
};

// rank 0: host ..2, embedding ..3, attention 3 * 4 ..15, router and permute ..18, dispatch
// rank 1: host ..2, embedding ..3, attention 4 ..7, router and permute ..10, dispatch
// Dispatch: rank 0's two copies to rank 1 start at 18 and land at 18 + 0.5 + 2 = 20.5, when both
//   parts end (the sender's too). Shared expert ..26.5 on both.
// Experts: rank 0 1 row ..30.5; rank 1 3 rows ..38.5. The mean is 8, rank 1 is 4 above it.
// Combine: rank 1's two copies leave at 38.5 and land at 41. Weighted sum ..44, LM head ..49.
TEST_F(DecodeStep, StepTimeCausesAndWaits) {
  const auto run = testing::run_tiny(scenario);
  ASSERT_EQ(run->steps.size(), 1u);
  EXPECT_EQ(run->step_time(), us(49));
  EXPECT_THAT(run->causes_us(),
              UnorderedElementsAre(
                  Pair("launch", 2), Pair("embedding", 1), Pair("attention", 12), Pair("gate", 2),
                  Pair("permute", 1 + 3), Pair("network", 2.5 + 2.5), Pair("shared_expert", 6),
                  Pair("expert", 8), Pair("token_straggler", 4), Pair("lm_head", 5)));
  EXPECT_EQ(booked(run->steps[0]), us(49).count());
  // Rank 0 waits for its own bytes in dispatch, and in combine from 30.5 for rank 1, which comes at
  // 38.5.
  EXPECT_THAT(run->waits_of(0),
              ElementsAre("launch 2 us", "network 2.5 us", "peer 8 us for gpu1", "network 2.5 us"));
  // Rank 1 waits in dispatch from 10 for rank 0, which comes at 18.
  EXPECT_THAT(run->waits_of(1),
              ElementsAre("launch 2 us", "peer 8 us for gpu0", "network 2.5 us", "network 2.5 us"));
  for (const int device : {0, 1}) {
    EXPECT_EQ(run->busy(device), us(34)) << device;  // 1 + 12 + 3 + 6 + 4 + 3 + 5, and 4 <-> 12
    EXPECT_EQ(run->waited(device), us(15)) << device;
  }
}

TEST_F(DecodeStep, WhatTheRoutingCameTo) {
  const StepFacts facts = testing::run_tiny(scenario)->steps[0].facts;
  EXPECT_EQ(facts.tokens, 4);
  ASSERT_EQ(facts.blocks.size(), 1u);
  EXPECT_EQ(facts.blocks[0].rows, 4);
  EXPECT_THAT(facts.blocks[0].expert_rows, ElementsAre(1, 0, 2, 1));
  EXPECT_THAT(facts.blocks[0].replicas, ElementsAre(1, 1, 1, 1));
  EXPECT_EQ(facts.blocks[0].imbalance_max_over_mean, 3.0 / 2);         // rows 1 and 3
  EXPECT_EQ(facts.blocks[0].expert_imbalance_max_over_mean, 2.0 / 1);  // mean of 4 experts: 1
  EXPECT_FALSE(facts.blocks[0].counts_only);
}

TEST_F(DecodeStep, TrafficIsTheTokensOnTheirWayAndBack) {
  const auto run = testing::run_tiny(scenario);
  EXPECT_THAT(run->dispatched, UnorderedElementsAre(Pair(Pair(0, 0), 256), Pair(Pair(0, 1), 512),
                                                    Pair(Pair(1, 1), 256)));
  EXPECT_THAT(run->combined, UnorderedElementsAre(Pair(Pair(0, 0), 256), Pair(Pair(1, 0), 512),
                                                  Pair(Pair(1, 1), 256)));
}

// The shared expert runs while dispatch is under way: rank 0 18..24, rank 1 10..16. Experts when
// dispatch has ended and the stream is free: rank 0 24..28, rank 1 20.5..32.5. Combine ends at 35,
// the step at 35 + 3 + 5.
TEST_F(DecodeStep, SharedExpertsBesideDispatchHideIt) {
  scenario.overlap = Overlap::kSharedExperts;
  const auto run = testing::run_tiny(scenario);
  EXPECT_EQ(run->step_time(), us(43));
  EXPECT_EQ(run->causes_us().count("shared_expert"), 0u);  // off the critical path
  EXPECT_EQ(booked(run->steps[0]), us(43).count());
  // Rank 1: its stream is free from 16; rank 0 comes at 18, the bytes at 20.5.
  EXPECT_THAT(run->waits_of(1),
              ElementsAre("launch 2 us", "peer 2 us for gpu0", "network 2.5 us", "network 2.5 us"));
  // Rank 0 never waits for dispatch; for combine from 28, rank 1 comes at 32.5.
  EXPECT_THAT(run->waits_of(0),
              ElementsAre("launch 2 us", "peer 4.5 us for gpu1", "network 2.5 us"));
}

// One of four SMs communicates: the shared expert takes 6 * 4/3 = 8 us on the other three, rank 0
// 18..26 and 26..30, rank 1 10..18 and 20.5..32.5. Nothing else changes.
TEST_F(DecodeStep, CommunicationSmsAreTakenFromWhatRunsBeside) {
  scenario.overlap = Overlap::kSharedExperts;
  scenario.communication_sms = 1;
  const auto run = testing::run_tiny(scenario);
  EXPECT_EQ(run->compute_time(0, static_cast<int>(TaskKind::kSharedExpert)), us(8));
  EXPECT_EQ(run->step_time(), us(43));
  EXPECT_THAT(run->waits_of(1), ElementsAre("launch 2 us", "network 2.5 us", "network 2.5 us"));
}

// Without the hook the low-latency kernel holds all four SMs until it has received, so nothing runs
// beside it; with the hook the shared expert does.
TEST_F(DecodeStep, ReceiveHookIsWhatLetsLowLatencyKernelsOverlap) {
  scenario.algorithm = "deepep-low-latency";
  const Duration plain = testing::run_tiny(scenario)->step_time();
  scenario.overlap = Overlap::kSharedExperts;
  const auto hooked = testing::run_tiny(scenario);
  EXPECT_LT(hooked->step_time(), plain);
  scenario.receive_hook = false;
  const auto held = testing::run_tiny(scenario);
  EXPECT_EQ(held->step_time(), plain);
  EXPECT_EQ(held->compute_time(0, static_cast<int>(TaskKind::kSharedExpert)), us(6));
}

TEST(LowLatencySms, AreAsManyAsTheExpertsFillEvenly) {
  EXPECT_EQ(sms_of_rows(256, 132), 128);
  EXPECT_EQ(sms_of_rows(288, 132), 96);
  EXPECT_EQ(sms_of_rows(64, 132), 64);
}

// 18 kernels per rank; the last, sampling, is launched when the host has issued all: 2 + 18 * 100.
TEST_F(DecodeStep, EagerLaunchesMayBeTheLongestPart) {
  scenario.host.launch = LaunchMode::kEager;
  scenario.host.per_launch = us(100);
  const auto run = testing::run_tiny(scenario);
  EXPECT_EQ(run->step_time(), us(1802));
  EXPECT_THAT(run->causes_us(), UnorderedElementsAre(Pair("launch", 1802)));
}

TEST_F(DecodeStep, LaunchesThatTakeNoTimeAreThoseOfAGraph) {
  scenario.host.launch = LaunchMode::kEager;
  EXPECT_EQ(testing::run_tiny(scenario)->step_time(), us(49));
}

// 0.5 us between kernels of a stream. Rank 0: 10 kernels before dispatch, 9 gaps: 22.5 instead of
// 18, and 25 at its end. Rank 1: shared up, activation, down, experts: 3 gaps, 25 + 6 + 12 + 1.5 =
// 44.5; combine ..47; sum ..50; norm, LM head, sampling: 3 gaps, 50 + 5 + 1.5.
TEST_F(DecodeStep, GapsBetweenKernelsAreLaunchTime) {
  scenario.host.gap = us(0.5);
  const auto run = testing::run_tiny(scenario);
  EXPECT_EQ(run->step_time(), us(56.5));
  EXPECT_EQ(run->causes_us().at("launch"), 2 + 4.5 + 1.5 + 1.5);
}

// TP 2: the group's 4 tokens of 256 B are gathered, 512 B per rank and hop: 2 us after 0.5 us.
// 3, gather ..5.5, attention of 4 tokens ..21.5, scatter ..24, router and permute ..27, dispatch
// ..29.5, shared ..35.5, experts of rank 1 ..47.5, combine ..50, sum ..53, LM head ..58.
TEST_F(DecodeStep, TensorParallelAttentionGathersAndScatters) {
  scenario.parallel.tp = 2;
  const auto run = testing::run_tiny(scenario);
  EXPECT_EQ(run->step_time(), us(58));
  EXPECT_EQ(run->causes_us().at("attention"), 16);
  EXPECT_EQ(run->causes_us().at("network"), 4 * 2.5);
  EXPECT_EQ(booked(run->steps[0]), us(58).count());
}

// All tokens go to rank 0. Dispatch: rank 1's copy leaves at 10 and lands at 11.5, where its part
// ends; rank 0 copies 3 to itself, 18 ..18.3. Rank 1: shared ..17.5, no experts. Rank 0: shared
// ..24.3, 4 rows ..40.3. Combine: rank 1's copy 40.3 + 0.5 + 1 = 41.8; sum and LM head ..49.8.
TEST_F(DecodeStep, ARankWithoutRowsLaunchesNoExperts) {
  scenario.routing = {testing::routing_of({{{0}, {0}, {1}}, {{1}}}, 4)};
  const auto run = testing::run_tiny(scenario);
  EXPECT_EQ(run->step_time(), us(49.8));
  const int experts = static_cast<int>(TaskKind::kExperts);
  for (const TaskSpan& span : run->tasks) {
    if (span.tag.kind == experts) {
      EXPECT_EQ(span.device, DeviceId(0));
    }
  }
  EXPECT_EQ(run->compute_time(0, experts), us(16));
  // The mean of 16 and 0 is everybody's, what is above is the straggler's.
  EXPECT_EQ(run->causes_us().at("expert"), 8);
  EXPECT_EQ(run->causes_us().at("token_straggler"), 8);
}

// Two sets of experts: ranks 0 and 1 as before; rank 2 has a token for its own expert 0, rank 3 one
// for its own expert 3. Those two: 10, dispatch ..10.1, shared ..16.1, experts ..20.1, combine
// ..20.2, sum ..23.2, LM head ..28.2, and then nothing until 49.
TEST_F(DecodeStep, TwoSetsOfExpertsDoNotMeet) {
  two_nodes();
  scenario.parallel.ep = 2;
  scenario.routing = {testing::routing_of({{{0}, {2}, {2}}, {{3}}, {{0}}, {{3}}}, 4)};
  const auto run = testing::run_tiny(scenario);
  EXPECT_EQ(run->step_time(), us(49));
  for (const int device : {2, 3}) {
    EXPECT_THAT(run->waits_of(device),
                ElementsAre("launch 2 us", "network 0.1 us", "network 0.1 us", "idle end 20.8 us"));
  }
  EXPECT_EQ(run->dispatched.count({0, 2}) + run->dispatched.count({1, 2}), 0u);
  EXPECT_EQ(run->dispatched.at({2, 2}), 256);
  const RoutedBlockFacts& facts = run->steps[0].facts.blocks[0];
  EXPECT_EQ(facts.imbalance_max_over_mean, 3 / 1.5);  // rows 3, 1, 1, 1 over all ranks
  EXPECT_THAT(facts.expert_rows, ElementsAre(2, 0, 2, 2));
}

// NCCL meets: rank 1's copy for rank 0 could leave at 10, but rank 0 comes at 18.
// Rank 1's token now goes to expert 1: dispatch 0 -> 1 lands at 20.5, 1 -> 0 at 18 + 0.5 + 1 = 19.5
// on the other direction of the ports; both parts end at 20.5.
TEST_F(DecodeStep, RendezvousWaitsForTheReceiver) {
  scenario.routing = {testing::routing_of({{{0}, {2}, {2}}, {{1}}}, 4)};
  scenario.algorithm = "nccl";
  const auto met = testing::run_tiny(scenario);
  scenario.algorithm = "nvlink-one-sided";
  const auto direct = testing::run_tiny(scenario);
  const auto ends = [](const testing::TinyResult& run) {
    std::vector<Duration> result(2);
    for (const PartSpan& part : run.parts) {
      if (part.tag.kind == static_cast<int>(TaskKind::kDispatch)) {
        result[part.device.index()] = part.end - Time{};
      }
    }
    return result;
  };
  EXPECT_THAT(ends(*met), ElementsAre(us(20.5), us(20.5)));
  EXPECT_THAT(ends(*direct), ElementsAre(us(20.5), us(20.5)));
  // Rows 2 and 2: 20.5 + 6 + 8, combine: rank 1 sends two copies, 34.5 + 2.5; sum and LM head.
  EXPECT_EQ(met->step_time(), us(45));
  EXPECT_EQ(direct->step_time(), us(45));
  EXPECT_EQ(met->causes_us().count("token_straggler"), 0u);
}

TEST_F(DecodeStep, StepsFollowOneAnotherAndLookAlike) {
  scenario.workload.steps = 3;
  const auto run = testing::run_tiny(scenario);
  ASSERT_EQ(run->steps.size(), 3u);
  for (std::size_t s = 0; s < 3; ++s) {
    EXPECT_EQ(run->steps[s].start - Time{}, us(49.0 * static_cast<double>(s)));
    EXPECT_EQ(run->step_time(s), us(49));
  }
  EXPECT_THAT(run->violations, IsEmpty());
}

}  // namespace
}  // namespace sim
