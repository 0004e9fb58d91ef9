#include "sim/policies/collectives/cluster_network.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/core/error.h"
#include "tests/policies/transfers.h"

namespace sim {
namespace {

std::string path_text(testing::Fabric& fabric, int from, int to, double multiplier = 1,
                      const WireEfficiency& efficiency = {}) {
  std::vector<ResourceUse> uses;
  const Duration latency =
      fabric.network.add_path(DeviceId(from), DeviceId(to), multiplier, efficiency, uses);
  return fmt::format("{} ns: {}", latency.count() / 1000, fabric.text_of(uses));
}

TEST(ClusterNetwork, APathIsItsLinksInOrderWithTheirLatency) {
  testing::Fabric fabric(testing::rail_cluster(2, 2));
  EXPECT_EQ(path_text(fabric, 0, 1), "200 ns: n0/gpu0/nvlink-up x1, n0/gpu1/nvlink-down x1");
  EXPECT_EQ(path_text(fabric, 0, 3),
            "3000 ns: n0/gpu0/nic-up x1, leaf0-spine0-up x1, leaf1-spine0-down x1, "
            "n1/gpu1/nic-down x1");
  // To itself: read and written in its own memory.
  EXPECT_EQ(path_text(fabric, 2, 2, 3), "0 ns: memory2 x6");
  EXPECT_TRUE(fabric.network.same_scale_up(DeviceId(0), DeviceId(1)));
  EXPECT_FALSE(fabric.network.same_scale_up(DeviceId(1), DeviceId(2)));
  EXPECT_EQ(fabric.network.node_of(DeviceId(3)), NodeId(1));
}

TEST(ClusterNetwork, EfficiencyIsPerKindOfLink) {
  testing::Fabric fabric(testing::rail_cluster(2, 2));
  const WireEfficiency efficiency{0.5, 0.25};
  EXPECT_EQ(path_text(fabric, 0, 1, 1, efficiency),
            "200 ns: n0/gpu0/nvlink-up x4, n0/gpu1/nvlink-down x4");
  EXPECT_EQ(path_text(fabric, 0, 3, 2, efficiency),
            "3000 ns: n0/gpu0/nic-up x4, leaf0-spine0-up x4, leaf1-spine0-down x4, "
            "n1/gpu1/nic-down x4");
}

TEST(ClusterNetwork, ATransferIsSpreadOverItsPathsOutsideTheNodeOnly) {
  testing::RailPorts ports;
  ports.spines = 4;
  Cluster cluster = testing::rail_cluster(2, 2, ports);
  cluster.paths_per_flow = 8;
  testing::Fabric fabric(cluster);
  EXPECT_EQ(path_text(fabric, 0, 1), "200 ns: n0/gpu0/nvlink-up x1, n0/gpu1/nvlink-down x1");
  std::vector<ResourceUse> uses;
  fabric.network.add_path(DeviceId(0), DeviceId(3), 1, {}, uses);
  EXPECT_EQ(uses.size(), 8u * 4);
  ClusterNetwork::merge(uses);
  double up = 0, nic = 0;
  std::size_t spines_used = 0;
  for (const ResourceUse& use : uses) {
    const std::string name = fabric.name_of(use.resource);
    if (name.starts_with("leaf0-spine")) {
      up += use.multiplier;
      ++spines_used;
    }
    if (name == "n0/gpu0/nic-up") nic += use.multiplier;
  }
  EXPECT_DOUBLE_EQ(nic, 1);
  EXPECT_DOUBLE_EQ(up, 1);
  EXPECT_GE(spines_used, 2u);
}

TEST(ClusterNetwork, MergeAddsTheUsesOfOneResource) {
  std::vector<ResourceUse> uses = {{ResourceId(4), 1}, {ResourceId(2), 0.5}, {ResourceId(4), 2}};
  ClusterNetwork::merge(uses);
  ASSERT_EQ(uses.size(), 2u);
  EXPECT_EQ(uses[0].resource, ResourceId(2));
  EXPECT_EQ(uses[0].multiplier, 0.5);
  EXPECT_EQ(uses[1].resource, ResourceId(4));
  EXPECT_EQ(uses[1].multiplier, 3);
}

TEST(ClusterNetwork, PayloadIsCountedOnceOnEveryLinkOfTheWay) {
  testing::Fabric fabric(testing::rail_cluster(2, 2));
  fabric.network.count_payload(DeviceId(0), DeviceId(3), 100);
  fabric.network.count_payload(DeviceId(0), DeviceId(2), 10);
  fabric.network.count_payload(DeviceId(1), DeviceId(1), 1000);  // crosses no link
  std::map<std::string, double> seen;
  for (std::size_t l = 0; l < fabric.cluster.links.size(); ++l) {
    const double bytes = fabric.network.link_payload()[l];
    if (bytes > 0) seen[fabric.cluster.links[l].name] = bytes;
  }
  using ::testing::Pair;
  EXPECT_THAT(seen, ::testing::UnorderedElementsAre(
                        Pair("n0/gpu0/nic-up", 110), Pair("leaf0-spine0-up", 100),
                        Pair("leaf1-spine0-down", 100), Pair("n1/gpu1/nic-down", 100),
                        Pair("n1/gpu0/nic-down", 10)));
}

TEST(ClusterNetwork, TransfersIntoOnePortShareIt) {
  // Two transfers of 1000 B into one NIC of 10 GB/s share it: 200 ns for both.
  testing::Fabric fabric(testing::rail_cluster(2, 2));
  for (const int from : {0, 1}) {
    std::vector<ResourceUse> uses;
    fabric.network.add_path(DeviceId(from), DeviceId(2), 1, {}, uses);
    fabric.fluid.start(uses, Bytes(1000), 0);
  }
  std::string violation = "not asked";
  fabric.loop.at(Time(Duration(1000)), [&] { violation = fabric.fluid.violation(1e-9); });
  fabric.loop.run();
  EXPECT_EQ(violation, "");
  EXPECT_EQ(to_ps(fabric.loop.now()), 200'000);
  EXPECT_DOUBLE_EQ(fabric.network.busy_seconds(LinkId(13)), 200e-9);  // n1/gpu0/nic-down
  EXPECT_EQ(fabric.cluster.links[13].name, "n1/gpu0/nic-down");
}

}  // namespace
}  // namespace sim
