// The transfers of every dispatch algorithm on two nodes of two GPUs, worked out by hand.
#include "sim/policies/collectives/exchange.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "sim/core/error.h"
#include "tests/policies/transfers.h"

namespace sim {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

// Ranks 0 and 1 are node 0, ranks 2 and 3 node 1. Rank r holds experts 2r and 2r + 1; top-2.
//   rank 0: {0,1} own rank twice; {2,4} ranks 1 and 2; {4,6} ranks 2 and 3; {5,4} rank 2 twice
//   rank 1: {4,5} rank 2 twice
//   rank 2: {0,7} ranks 0 and 3
//   rank 3: {6,7} own rank twice
// A copy is 128 values of bf16: 256 B.
class ExchangeOfFourRanks : public ::testing::Test {
 protected:
  CollectiveBody run(std::string_view algorithm, Direction direction, const StartupCost& cost = {},
                     int communication_sms = 0) {
    const ExchangeAlgorithm& found = find_exchange_algorithm(algorithm);
    Exchange exchange;
    exchange.direction = direction;
    exchange.copies = &copies;
    exchange.ranks = devices;
    exchange.node_of_rank = node_of_rank;
    exchange.bytes_per_copy = Bytes(256);
    exchange.experts = 8;
    exchange.device_sms = 4;
    exchange.communication_sms = communication_sms;
    CollectiveBody body;
    traffic.clear();
    const TrafficSink sink = [&](DeviceId from, DeviceId to, Bytes bytes) {
      traffic[fmt::format("{}-{}", from.value(), to.value())] += bytes.count();
    };
    found.make(exchange, cost, fabric.network, sink, body);
    return body;
  }

  testing::Fabric fabric{testing::rail_cluster(2, 2)};
  std::vector<DeviceId> devices = {DeviceId(0), DeviceId(1), DeviceId(2), DeviceId(3)};
  std::vector<int> node_of_rank = {0, 0, 1, 1};
  LayerRouting routing =
      testing::routing_of({{{0, 1}, {2, 4}, {4, 6}, {5, 4}}, {{4, 5}}, {{0, 7}}, {{6, 7}}}, 8);
  CopyCounts copies = testing::copies_of(routing, testing::in_order(4, 2), node_of_rank, 2);
  std::map<std::string, std::int64_t> traffic;
};

TEST_F(ExchangeOfFourRanks, CopiesAreCountedPerRowRankAndNode) {
  // Rank 0's row of `rows`: {0,1} puts 2 on itself, {2,4} 1 on rank 1; rank 2 gets 1 + 1 + 2.
  EXPECT_THAT(copies.rows, ElementsAre(2, 1, 4, 1,  //
                                       0, 0, 2, 0,  //
                                       1, 0, 0, 1,  //
                                       0, 0, 0, 2));
  // {5,4} counts once on rank 2, {0,1} once on rank 0.
  EXPECT_THAT(copies.rank_copies, ElementsAre(1, 1, 3, 1,  //
                                              0, 0, 1, 0,  //
                                              1, 0, 0, 1,  //
                                              0, 0, 0, 1));
  // {4,6} goes to node 1 once though two of its ranks get it.
  EXPECT_THAT(copies.node_copies, ElementsAre(2, 3,  //
                                              0, 1,  //
                                              1, 1,  //
                                              0, 1));
  EXPECT_THAT(copies.tokens, ElementsAre(4, 1, 1, 1));
  EXPECT_FALSE(copies.estimated);
}

// Latencies: NVLink 2 x 100 ns; same rail 2 x 1 us; across rails 2 x 1 us + 2 x 0.5 us.
TEST_F(ExchangeOfFourRanks, NcclSendsEveryRowByItself) {
  EXPECT_THAT(
      fabric.lines_of(run("nccl", Direction::kDispatch)),
      ElementsAre("0: 512 B after 0 ns over memory0 x2",
                  "0 > 1: 256 B after 200 ns over n0/gpu0/nvlink-up x1, n0/gpu1/nvlink-down x1",
                  "0 > 2: 1024 B after 2000 ns over n0/gpu0/nic-up x1, n1/gpu0/nic-down x1",
                  "0 > 3: 256 B after 3000 ns over n0/gpu0/nic-up x1, n1/gpu1/nic-down x1, "
                  "leaf0-spine0-up x1, leaf1-spine0-down x1",
                  "1 > 2: 512 B after 3000 ns over n0/gpu1/nic-up x1, n1/gpu0/nic-down x1, "
                  "leaf0-spine0-down x1, leaf1-spine0-up x1",
                  "2 > 0: 256 B after 2000 ns over n0/gpu0/nic-down x1, n1/gpu0/nic-up x1",
                  "2 > 3: 256 B after 200 ns over n1/gpu0/nvlink-up x1, n1/gpu1/nvlink-down x1",
                  "3: 512 B after 0 ns over memory3 x2"));
  EXPECT_THAT(traffic, UnorderedElementsAre(Pair("0-0", 512), Pair("0-1", 256), Pair("0-2", 1024),
                                            Pair("0-3", 256), Pair("1-2", 512), Pair("2-0", 256),
                                            Pair("2-3", 256), Pair("3-3", 512)));
}

TEST_F(ExchangeOfFourRanks, CombineRunsTheSameLegsBackwards) {
  EXPECT_THAT(
      fabric.lines_of(run("nccl", Direction::kCombine)),
      ElementsAre("0: 512 B after 0 ns over memory0 x2",
                  "1 > 0: 256 B after 200 ns over n0/gpu0/nvlink-down x1, n0/gpu1/nvlink-up x1",
                  "2 > 0: 1024 B after 2000 ns over n0/gpu0/nic-down x1, n1/gpu0/nic-up x1",
                  "3 > 0: 256 B after 3000 ns over n0/gpu0/nic-down x1, n1/gpu1/nic-up x1, "
                  "leaf0-spine0-down x1, leaf1-spine0-up x1",
                  "2 > 1: 512 B after 3000 ns over n0/gpu1/nic-down x1, n1/gpu0/nic-up x1, "
                  "leaf0-spine0-up x1, leaf1-spine0-down x1",
                  "0 > 2: 256 B after 2000 ns over n0/gpu0/nic-up x1, n1/gpu0/nic-down x1",
                  "3 > 2: 256 B after 200 ns over n1/gpu0/nvlink-down x1, n1/gpu1/nvlink-up x1",
                  "3: 512 B after 0 ns over memory3 x2"));
  EXPECT_EQ(traffic.at("2-0"), 1024);
}

TEST_F(ExchangeOfFourRanks, LowLatencyMovesTheSameRowsWithoutMeeting) {
  for (const Direction direction : {Direction::kDispatch, Direction::kCombine}) {
    EXPECT_EQ(fabric.lines_of(run("deepep-low-latency", direction)),
              fabric.lines_of(run("nccl", direction)));
  }
  EXPECT_EQ(find_exchange_algorithm("nccl").start, StartRule::kRendezvous);
  for (const char* name : {"deepep-low-latency", "deepep-low-latency-no-nvlink", "deepep-normal",
                           "nvlink-one-sided"}) {
    EXPECT_EQ(find_exchange_algorithm(name).start, StartRule::kOneSided) << name;
  }
}

TEST_F(ExchangeOfFourRanks, OneSidedNvlinkSendsATokenOncePerRank) {
  const std::vector<std::string> lines =
      fabric.lines_of(run("nvlink-one-sided", Direction::kDispatch));
  ASSERT_EQ(lines.size(), 8u);
  EXPECT_EQ(lines[0], "0: 256 B after 0 ns over memory0 x2");  // {0,1} once
  EXPECT_EQ(lines[2], "0 > 2: 768 B after 2000 ns over n0/gpu0/nic-up x1, n1/gpu0/nic-down x1");
  EXPECT_EQ(traffic.at("0-2"), 768);
  EXPECT_EQ(traffic.at("1-2"), 256);
  EXPECT_EQ(traffic.at("3-3"), 256);
}

// To the other node: once per token to the rank on the same rail, which forwards. Of rank 0's 3
// copies one goes on to rank 3: a third of the bytes. Rank 1's copy for rank 2 lands on rank 3.
TEST_F(ExchangeOfFourRanks, NormalSendsATokenOncePerNodeAndForwardsIt) {
  EXPECT_THAT(
      fabric.lines_of(run("deepep-normal", Direction::kDispatch)),
      ElementsAre("0: 256 B after 0 ns over memory0 x2",
                  "0 > 1: 256 B after 200 ns over n0/gpu0/nvlink-up x1, n0/gpu1/nvlink-down x1",
                  "0 > 2 3: 768 B after 2200 ns over n1/gpu0/nvlink-up x0.333333, "
                  "n1/gpu1/nvlink-down x0.333333, n0/gpu0/nic-up x1, n1/gpu0/nic-down x1",
                  "1 > 2: 256 B after 2200 ns over n1/gpu0/nvlink-down x1, n1/gpu1/nvlink-up x1, "
                  "n0/gpu1/nic-up x1, n1/gpu1/nic-down x1",
                  "2 > 0: 256 B after 2000 ns over n0/gpu0/nic-down x1, n1/gpu0/nic-up x1",
                  "2 > 3: 256 B after 200 ns over n1/gpu0/nvlink-up x1, n1/gpu1/nvlink-down x1",
                  "3: 256 B after 0 ns over memory3 x2"));
  EXPECT_THAT(traffic, UnorderedElementsAre(Pair("0-0", 256), Pair("0-1", 256), Pair("0-2", 768),
                                            Pair("2-3", 512), Pair("1-3", 256), Pair("3-2", 256),
                                            Pair("2-0", 256), Pair("3-3", 256)));
}

TEST_F(ExchangeOfFourRanks, NormalCombineGathersInTheNodeAndReturnsOnce) {
  const std::vector<std::string> lines = fabric.lines_of(run("deepep-normal", Direction::kCombine));
  ASSERT_EQ(lines.size(), 7u);
  EXPECT_EQ(lines[2],
            "2 3 > 0: 768 B after 2200 ns over n1/gpu0/nvlink-down x0.333333, "
            "n1/gpu1/nvlink-up x0.333333, n0/gpu0/nic-down x1, n1/gpu0/nic-up x1");
  EXPECT_EQ(lines[3],
            "2 > 1: 256 B after 2200 ns over n1/gpu0/nvlink-up x1, n1/gpu1/nvlink-down x1, "
            "n0/gpu1/nic-down x1, n1/gpu1/nic-up x1");
  EXPECT_EQ(traffic.at("3-2"), 512);  // rank 0's to its relay, and rank 2's own from rank 3
}

TEST_F(ExchangeOfFourRanks, NothingIsSentForRanksWithoutTokens) {
  const LayerRouting empty = testing::routing_of({{}, {}, {{0, 1}}, {}}, 8);
  copies = testing::copies_of(empty, testing::in_order(4, 2), node_of_rank, 2);
  for (const ExchangeAlgorithm& algorithm : kExchangeAlgorithms) {
    const CollectiveBody body = run(algorithm.name, Direction::kDispatch);
    if (!body.stages.empty()) continue;  // copies rows of its own in every stage
    ASSERT_EQ(body.transfers.size(), 1u) << algorithm.name;
    EXPECT_EQ(body.startup.size(), 4u);
    EXPECT_EQ(body.transfers[0].bytes, Bytes(algorithm.distinct_copies ? 256 : 512));
  }
}

// 16 us + 0.5 us per rank that it sends to (its own is no message).
TEST_F(ExchangeOfFourRanks, EveryRankStartsWithItsOwnMessages) {
  StartupCost cost;
  cost.base = Duration(16'000'000);
  cost.per_message = Duration(500'000);
  const CollectiveBody body = run("nccl", Direction::kDispatch, cost);
  EXPECT_THAT(body.startup, ElementsAre(Duration(17'500'000), Duration(16'500'000),
                                        Duration(17'000'000), Duration(16'000'000)));
  EXPECT_EQ(body.beside, Duration(0));
  // Fitted constants hold the latency of the links already.
  for (const CollectiveBody::Transfer& t : body.transfers) EXPECT_EQ(t.latency, Duration(0));
}

TEST_F(ExchangeOfFourRanks, AWireBaseIsTheStartAndTheRestStandsBeside) {
  StartupCost cost;
  cost.base = Duration(16'000'000);
  cost.wire_base = Duration(12'000'000);
  const CollectiveBody body = run("nvlink-one-sided", Direction::kDispatch, cost);
  EXPECT_THAT(body.startup, ElementsAre(Duration(12'000'000), Duration(12'000'000),
                                        Duration(12'000'000), Duration(12'000'000)));
  EXPECT_EQ(body.beside, Duration(16'000'000));
}

// Rank 0 of deepep-normal over 2 nodes copies 6 rank copies and 5 node copies with 2 SMs of 1 GB/s:
// 11 * 256 B / 1 GB/s / 2 = 1.408 us, spread over its 5 sent copies of 256 B: 1.1 ns per byte, in a
// resource that gives 1e9 ns per second.
TEST_F(ExchangeOfFourRanks, CopyingTakesTheOwnersCommunicationSms) {
  StartupCost cost;
  cost.copy_per_sm = Bandwidth(1e9);
  const auto lines = fabric.lines_of(run("deepep-normal", Direction::kDispatch, cost, 2));
  EXPECT_EQ(lines[0], "0: 256 B after 0 ns over memory0 x2, copy0 x1.1");
  EXPECT_EQ(lines[2],
            "0 > 2 3: 768 B after 2200 ns over n1/gpu0/nvlink-up x0.333333, "
            "n1/gpu1/nvlink-down x0.333333, n0/gpu0/nic-up x1, n1/gpu0/nic-down x1, copy0 x1.1");
  // Low latency: 8 experts on 4 SMs are 2 per SM, so 4 SMs work; 8 rows of rank 0 take
  // 8 * 256 / 1 GB/s / 4 = 0.512 us, over 2048 B: 0.25 ns per byte.
  const auto rows = fabric.lines_of(run("deepep-low-latency", Direction::kDispatch, cost));
  EXPECT_EQ(rows[0], "0: 512 B after 0 ns over memory0 x2, copy0 x0.25");
}

TEST_F(ExchangeOfFourRanks, EfficienciesStretchTheBytesOnTheWire) {
  StartupCost cost;
  cost.nic_efficiency = 0.5;
  cost.nvlink_efficiency = 0.25;
  const auto lines = fabric.lines_of(run("deepep-normal", Direction::kDispatch, cost));
  EXPECT_EQ(lines[1],
            "0 > 1: 256 B after 200 ns over n0/gpu0/nvlink-up x4, n0/gpu1/nvlink-down x4");
  EXPECT_EQ(lines[2],
            "0 > 2 3: 768 B after 2200 ns over n1/gpu0/nvlink-up x1.33333, "
            "n1/gpu1/nvlink-down x1.33333, n0/gpu0/nic-up x2, n1/gpu0/nic-down x2");
  // The wire slows with (4 ranks / 8)^1: here it becomes twice as fast.
  cost.rate_exponent = 1;
  const auto faster = fabric.lines_of(run("deepep-normal", Direction::kDispatch, cost));
  EXPECT_EQ(faster[1],
            "0 > 1: 256 B after 200 ns over n0/gpu0/nvlink-up x2, n0/gpu1/nvlink-down x2");
}

// Balanced: every rank has T = 4 tokens, token i goes with both choices to rank i. V = T k b.
// Published forms: low latency puts f V on a NIC, f = (n-1)/n = 1/2; normal puts T b times the
// remote nodes of a token (here 1/2) on it. NVLink sees what stays in the node, own rank left out,
// and the forwards.
TEST_F(ExchangeOfFourRanks, BytesPerLinkAreThoseOfThePublishedForms) {
  const std::vector<std::vector<int>> tokens = {{0, 1}, {2, 3}, {4, 5}, {6, 7}};
  const LayerRouting balanced = testing::routing_of({tokens, tokens, tokens, tokens}, 8);
  copies = testing::copies_of(balanced, testing::in_order(4, 2), node_of_rank, 2);
  const double b = 256, t = 4, k = 2;
  const auto low = fabric.carried(run("deepep-low-latency", Direction::kDispatch));
  const auto normal = fabric.carried(run("deepep-normal", Direction::kDispatch));
  for (int node = 0; node < 2; ++node) {
    for (int gpu = 0; gpu < 2; ++gpu) {
      for (const char* way : {"up", "down"}) {
        const std::string at = fmt::format("n{}/gpu{}/", node, gpu);
        EXPECT_DOUBLE_EQ(low.at(at + "nic-" + way), t * k * b / 2) << at;
        EXPECT_DOUBLE_EQ(low.at(at + "nvlink-" + way), t * k * b / 4) << at;
        EXPECT_DOUBLE_EQ(normal.at(at + "nic-" + way), t * b / 2) << at;
        // One token for the neighbour, and one forward for it.
        EXPECT_DOUBLE_EQ(normal.at(at + "nvlink-" + way), 2 * b) << at;
      }
    }
  }
}

TEST(CopyCounts, CountsOnlyGiveTheExpectedDistinctTokens) {
  // 10 tokens with top-2: 15 rows for rank 0, 5 for rank 1. T (1 - (1 - c/(T k))^k):
  // 10 (1 - 0.25^2) = 9.4 -> 9; 10 (1 - 0.75^2) = 4.4 -> 4; the node has all 20: 10.
  LayerRouting routing;
  routing.ranks = 2;
  routing.experts = 2;
  routing.per_token = false;
  routing.counts = {15, 5, 1, 0};
  const CopyCounts copies = testing::copies_of(routing, testing::in_order(2, 1), {0, 0}, 2);
  EXPECT_TRUE(copies.estimated);
  EXPECT_THAT(copies.rows, ElementsAre(15, 5, 1, 0));
  EXPECT_THAT(copies.tokens, ElementsAre(10, 0));
  EXPECT_THAT(copies.rank_copies, ElementsAre(9, 4, 0, 0));
  EXPECT_THAT(copies.node_copies, ElementsAre(10, 0));
}

TEST(CopyCounts, CopiesOfOneExpertOnSeveralRanksAreServedInTurn) {
  // Expert 0 on both ranks; modulo: token t of rank s uses copy (t + s) mod 2.
  const ExpertPlacement placement = make_placement(1, 2, {ExpertId(0), ExpertId(0)});
  const LayerRouting routing = testing::routing_of({{{0}, {0}, {0}}, {{0}}}, 1);
  const CopyCounts copies = testing::copies_of(routing, placement, {0, 1}, 1);
  EXPECT_THAT(copies.rows, ElementsAre(2, 1,  // tokens 0 and 2 on rank 0, token 1 on rank 1
                                       0, 1));
}

TEST(StartupTime, EveryTermByHand) {
  StartupCost cost;
  cost.base = Duration(10'000'000);
  cost.multi_node = Duration(2'000'000);
  cost.per_doubling = Duration(3'000'000);
  cost.per_256_experts = Duration(4'000'000);
  cost.per_message = Duration(500'000);
  // One node: 10 + 4 * 128/256 + 0.5 * 6 = 15 us.
  EXPECT_EQ(startup_time(cost, 8, 1, 128, 6, 80, 20), Duration(15'000'000));
  // Four nodes: + 2 + 3 * log2(4) = 23 us.
  EXPECT_EQ(startup_time(cost, 32, 4, 128, 6, 80, 20), Duration(23'000'000));
  // times (32/8)^0.5 = 46 us.
  cost.world_exponent = 0.5;
  EXPECT_EQ(startup_time(cost, 32, 4, 128, 6, 80, 20), Duration(46'000'000));
  // + 8 (1 - exp(-80 / (4 * 20))) = 46 + 8 * 0.632120559 = 51.0569645 us; without SMs no pipeline.
  cost.pipeline_fill = Duration(8'000'000);
  EXPECT_NEAR(to_seconds(startup_time(cost, 32, 4, 128, 6, 80, 20)), 51.0569645e-6, 1e-12);
  EXPECT_EQ(startup_time(cost, 32, 4, 128, 6, 80, 0), Duration(46'000'000));
  EXPECT_EQ(startup_time(assumed_startup(), 32, 4, 128, 6, 80, 20), Duration(0));
}

TEST(BytesPerCopy, ValuesScalesAndHeader) {
  const ExchangeAlgorithm& low = find_exchange_algorithm("deepep-low-latency");
  const ExchangeAlgorithm& normal = find_exchange_algorithm("deepep-normal");
  // 7168 + 56 blocks of 128 * 4 B = 7392, + 16 B of header in low-latency dispatch.
  EXPECT_EQ(bytes_per_copy(low, Direction::kDispatch, 7168, DType::kFp8), Bytes(7408));
  EXPECT_EQ(bytes_per_copy(normal, Direction::kDispatch, 7168, DType::kFp8), Bytes(7392));
  EXPECT_EQ(bytes_per_copy(low, Direction::kCombine, 7168, DType::kBf16), Bytes(14336));
  EXPECT_EQ(bytes_per_copy(normal, Direction::kDispatch, 130, DType::kFp8), Bytes(130 + 2 * 4));
  // nvfp4: half a byte and a scale byte per 16 values.
  EXPECT_EQ(bytes_per_copy(normal, Direction::kDispatch, 7168, DType::kNvfp4), Bytes(3584 + 448));
}

TEST(BufferBytes, LowLatencyKeepsTwoSetsOfMessagesPerExpert) {
  // DeepEP's own size: 2 sets * (1 send + 256 receive) * 128 tokens * (2 * 7168 + 16) B.
  EXPECT_EQ(buffer_bytes(find_exchange_algorithm("deepep-low-latency"), 256, 8, 128, 8, 7168, 32),
            Bytes(2LL * 257 * 128 * 14352));
  // Every token of 8 ranks, and the own ones.
  EXPECT_EQ(buffer_bytes(find_exchange_algorithm("nvlink-one-sided"), 256, 8, 128, 8, 7168, 32),
            Bytes((128LL * 8 + 128) * 14352));
  // Twice the mean rows, 2 * 8 per token, and the own ones.
  EXPECT_EQ(buffer_bytes(find_exchange_algorithm("nccl"), 256, 8, 128, 8, 7168, 32),
            Bytes((128LL * 16 + 128) * 14352));
}

TEST(ExchangeTable, AWrongNameIsAnErrorWithTheNearest) {
  try {
    find_exchange_algorithm("deepep-lowlatency");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "there is no dispatch algorithm 'deepep-lowlatency'; "
                 "did you mean 'deepep-low-latency'?");
  }
}

}  // namespace
}  // namespace sim
