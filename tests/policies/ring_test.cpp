#include "sim/policies/collectives/ring.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/core/error.h"
#include "tests/policies/transfers.h"

namespace sim {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

struct Ring {
  testing::Fabric fabric;
  std::map<std::string, std::int64_t> traffic;
  CollectiveBody body;
  std::string label;

  explicit Ring(Cluster cluster) : fabric(std::move(cluster)) {}
  void run(int ranks, Bytes total, const char* operation = "all-gather") {
    std::vector<DeviceId> devices;
    for (int r = 0; r < ranks; ++r) devices.emplace_back(r);
    const TrafficSink sink = [&](DeviceId from, DeviceId to, Bytes bytes) {
      traffic[fmt::format("{}-{}", from.value(), to.value())] += bytes.count();
    };
    label = ring_body(devices, total, operation, fabric.network, sink, body);
  }
};

// Four ranks gather 4096 B: each passes on 3 of the 4 pieces, 3072 B, in 3 steps; every step waits
// for the latency of its hop: 3 x 200 ns over NVLink, 3 x 3 us from rail 1 to rail 0.
TEST(Ring, EveryRankPassesAllPiecesButItsOwn) {
  Ring ring(testing::rail_cluster(2, 2));
  ring.run(4, Bytes(4096));
  EXPECT_THAT(
      ring.fabric.lines_of(ring.body),
      ElementsAre("0 > 1: 3072 B after 600 ns over n0/gpu0/nvlink-up x1, n0/gpu1/nvlink-down x1",
                  "1 > 2: 3072 B after 9000 ns over n0/gpu1/nic-up x1, n1/gpu0/nic-down x1, "
                  "leaf0-spine0-down x1, leaf1-spine0-up x1",
                  "2 > 3: 3072 B after 600 ns over n1/gpu0/nvlink-up x1, n1/gpu1/nvlink-down x1",
                  "3 > 0: 3072 B after 9000 ns over n0/gpu0/nic-down x1, n1/gpu1/nic-up x1, "
                  "leaf0-spine0-down x1, leaf1-spine0-up x1"));
  EXPECT_THAT(ring.traffic, UnorderedElementsAre(Pair("0-1", 3072), Pair("1-2", 3072),
                                                 Pair("2-3", 3072), Pair("3-0", 3072)));
  EXPECT_EQ(ring.body.start, StartRule::kRendezvous);
  EXPECT_THAT(ring.body.startup, ElementsAre(Duration(0), Duration(0), Duration(0), Duration(0)));
  EXPECT_EQ(ring.label, "assumed");
}

// start = 5 us + 3 steps * 1 us + 1024 B / (1 GB/s) + 4 us * 4096 / (4096 + 4096) = 11.024 us.
TEST(Ring, ConstantsOfTheClusterGiveTheStartAndTheEfficiencies) {
  Cluster cluster = testing::rail_cluster(2, 2);
  CollectiveConstants constants;
  constants.algorithm = "nccl-ring";
  constants.operation = "all-gather";
  constants.base = Duration(5'000'000);
  constants.per_step = Duration(1'000'000);
  constants.local_copy = Bandwidth(1e9);
  constants.ramp = Duration(4'000'000);
  constants.ramp_bytes = Bytes(4096);
  constants.nvlink_efficiency = 0.5;
  constants.nic_efficiency = 0.8;
  constants.label = "fitted";
  cluster.collectives = {constants};
  Ring ring(cluster);
  ring.run(4, Bytes(4096));
  EXPECT_EQ(ring.label, "fitted");
  EXPECT_EQ(ring.body.startup[0], Duration(11'024'000));
  const auto lines = ring.fabric.lines_of(ring.body);
  EXPECT_EQ(lines[0], "0 > 1: 3072 B after 0 ns over n0/gpu0/nvlink-up x2, n0/gpu1/nvlink-down x2");
  EXPECT_EQ(lines[1],
            "1 > 2: 3072 B after 0 ns over n0/gpu1/nic-up x1.25, n1/gpu0/nic-down x1.25, "
            "leaf0-spine0-down x1.25, leaf1-spine0-up x1.25");
  // They are of another operation: the reduce-scatter has none.
  Ring other(cluster);
  other.run(4, Bytes(4096), "reduce-scatter");
  EXPECT_EQ(other.label, "assumed");
  EXPECT_EQ(other.body.startup[0], Duration(0));
}

TEST(Ring, PiecesThatDoNotDivideAreRoundedUpAndNothingMovesNothing) {
  Ring ring(testing::rail_cluster(1, 4));
  ring.run(4, Bytes(10));
  ASSERT_EQ(ring.body.transfers.size(), 4u);
  EXPECT_EQ(ring.body.transfers[0].bytes, Bytes(8));  // 10 * 3/4 = 7.5
  Ring empty(testing::rail_cluster(1, 4));
  empty.run(4, Bytes(0));
  EXPECT_TRUE(empty.body.transfers.empty());
  EXPECT_EQ(empty.body.startup.size(), 4u);
  Ring one(testing::rail_cluster(1, 4));
  EXPECT_THROW(one.run(1, Bytes(10)), InternalError);
}

}  // namespace
}  // namespace sim
