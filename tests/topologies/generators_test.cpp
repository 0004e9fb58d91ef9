#include "topologies/generators.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/topologies/reading.h"
#include "topologies/validate.h"

namespace sim {
namespace {

using testing::cluster_of;
using ::testing::ElementsAre;
using testing::hops;
using testing::link_named;

const std::string kHgx =
    "use: hgx, device: h100-sxm, nvlink: {bandwidth: 450 GB/s, latency: 1 us}, "
    "nic: {bandwidth: 50 GB/s, latency: 2 us}, fabric: {latency: 500 ns}";

TEST(Generators, EveryExampleOfTheTableBuildsAValidCluster) {
  for (const ClusterGenerator& generator : cluster_generators()) {
    const auto document =
        YamlDocument::parse(std::string(generator.example), std::string(generator.name));
    Mistakes mistakes;
    ClusterParameters parameters({YamlMap(document->root(), "cluster", mistakes)}, "example");
    const Cluster cluster = generator.build(parameters);
    parameters.finish();
    validate(cluster, mistakes);
    EXPECT_NO_THROW(mistakes.throw_if_any()) << generator.name;
    EXPECT_GE(cluster.device_count(), 2) << generator.name;
    EXPECT_FALSE(cluster.figures.empty()) << generator.name;
    EXPECT_FALSE(generator.help.empty());
    EXPECT_EQ(find_cluster_generator(generator.name), &generator);
  }
}

TEST(Generators, SingleSwitchHasOnePortPerGpu) {
  const Cluster cluster = cluster_of(
      "{use: single-switch, gpus: 3, device: x, port: {bandwidth: 400 Gb/s, latency: 1 us}}");
  EXPECT_EQ(cluster.node_count(), 3);
  EXPECT_EQ(cluster.links.size(), 6U);
  EXPECT_THAT(hops(cluster, 0, 2), ElementsAre("node0/gpu0/port-up", "node2/gpu0/port-down"));
  EXPECT_EQ(link_named(cluster, "node0/gpu0/port-up").capacity, Bandwidth(50e9));
  EXPECT_EQ(Routes(cluster).route(DeviceId(0), DeviceId(1)).latency, std::chrono::microseconds(2));
}

TEST(Generators, HgxInsideANodeUsesNvlink) {
  const Cluster cluster = cluster_of("{" + kHgx + ", nodes: 2}");
  EXPECT_EQ(cluster.device_count(), 16);
  EXPECT_THAT(hops(cluster, 8, 15), ElementsAre("node1/gpu0/nvlink-up", "node1/gpu7/nvlink-down"));
}

TEST(Generators, HgxSameRailAndLeafSkipsTheSpine) {
  const Cluster cluster = cluster_of("{" + kHgx + ", nodes: 2}");
  EXPECT_THAT(hops(cluster, 3, 11), ElementsAre("node0/gpu3/nic-up", "node1/gpu3/nic-down"));
  EXPECT_EQ(Routes(cluster).route(DeviceId(3), DeviceId(11)).latency, std::chrono::microseconds(4));
}

TEST(Generators, HgxCrossRailGoesThroughASpineAlsoWithOneLeafPerRail) {
  // 2 nodes: a leaf has 2 NICs of 50 GB/s, so there are 2 spines with 50 GB/s to each leaf.
  const Cluster cluster = cluster_of("{" + kHgx + ", nodes: 2, spraying: ideal}");
  EXPECT_THAT(hops(cluster, 0, 9), ElementsAre("node0/gpu0/nic-up", "rail0/leaf0-spine",
                                               "spine-rail1/leaf0", "node1/gpu1/nic-down"));
  EXPECT_EQ(Routes(cluster).route(DeviceId(0), DeviceId(9)).latency, std::chrono::microseconds(5));
  EXPECT_EQ(link_named(cluster, "rail0/leaf0-spine").capacity, Bandwidth(100e9));
  EXPECT_EQ(cluster.spraying, Spraying::kIdeal);

  const Cluster hashed = cluster_of("{" + kHgx + ", nodes: 2}");
  EXPECT_EQ(link_named(hashed, "rail0/leaf0-spine1").capacity, Bandwidth(50e9));
  EXPECT_THROW(link_named(hashed, "rail0/leaf0-spine2"), Error);
}

TEST(Generators, HgxSeveralLeafGroups) {
  // Nodes 0-1 under leaf 0, 2-3 under leaf 1, 4 under leaf 2 (alike, though it has one node).
  const Cluster cluster =
      cluster_of("{" + kHgx + ", nodes: 5, nodes_per_leaf: 2, spraying: ideal}");
  EXPECT_THAT(hops(cluster, 0, 8), ElementsAre("node0/gpu0/nic-up", "node1/gpu0/nic-down"));
  EXPECT_THAT(hops(cluster, 0, 32), ElementsAre("node0/gpu0/nic-up", "rail0/leaf0-spine",
                                                "spine-rail0/leaf2", "node4/gpu0/nic-down"));
  EXPECT_EQ(link_named(cluster, "spine-rail0/leaf2").capacity, Bandwidth(100e9));
}

TEST(Generators, OversubscriptionDividesTheUplinksExactly) {
  // 9 nodes at 2:1 are 4.5 uplinks: 5 spines with 0.9 of a NIC each.
  const Cluster cluster = cluster_of("{" + kHgx + ", nodes: 9, oversubscription: 2}");
  EXPECT_EQ(link_named(cluster, "rail7/leaf0-spine4").capacity, Bandwidth(45e9));
  EXPECT_THROW(link_named(cluster, "rail7/leaf0-spine5"), Error);
  const Cluster ideal =
      cluster_of("{" + kHgx + ", nodes: 9, oversubscription: 2, spraying: ideal}");
  EXPECT_EQ(link_named(ideal, "rail7/leaf0-spine").capacity, Bandwidth(225e9));
}

TEST(Generators, OneLeafNeedsNoSpine) {
  const Cluster cluster = cluster_of("{" + kHgx + ", nodes: 2, gpus_per_node: 1}");
  for (const Link& link : cluster.links) EXPECT_NE(link.kind, LinkKind::kFabric) << link.name;
}

TEST(Generators, NodeGroupsDifferAndInherit) {
  const Cluster cluster =
      cluster_of("{" + kHgx +
                 ", node_groups: [{nodes: 2}, {nodes: 1, device: a100-sxm-80gb, "
                 "gpus_per_node: 4, nvlink: {bandwidth: 300 GB/s}, "
                 "nic: {bandwidth: 25 GB/s}}], spraying: ideal}");
  EXPECT_EQ(cluster.device_count(), 20);
  EXPECT_EQ(cluster.devices[15].device_type, "h100-sxm");
  EXPECT_EQ(cluster.devices[16].device_type, "a100-sxm-80gb");
  EXPECT_EQ(link_named(cluster, "node2/gpu3/nvlink-up").capacity, Bandwidth(300e9));
  EXPECT_EQ(link_named(cluster, "node2/gpu3/nvlink-up").latency, std::chrono::microseconds(1));
  EXPECT_EQ(link_named(cluster, "node2/gpu3/nic-up").capacity, Bandwidth(25e9));
  // Rail 0 has NICs of 50, 50 and 25 GB/s; rail 7 lacks the third node but is built alike.
  EXPECT_EQ(link_named(cluster, "rail0/leaf0-spine").capacity, Bandwidth(125e9));
  EXPECT_EQ(link_named(cluster, "rail7/leaf0-spine").capacity, Bandwidth(125e9));
  EXPECT_EQ(cluster.devices[19].scale_up_domain, 2);
}

TEST(Generators, PcieBoxKeepsToTheNearestNicAndBridge) {
  const std::string box =
      "{use: pcie-box, boxes: 2, gpus: 4, gpus_per_pcie_switch: 2, sockets: 2, nics: 1, device: x, "
      "pcie: {bandwidth: 32 GB/s, latency: 1 us}, host_link: {bandwidth: 20 GB/s, latency: 3 us}, "
      "nic: {bandwidth: 25 GB/s, latency: 2 us}}";
  const Cluster cluster = cluster_of(box);
  EXPECT_THAT(hops(cluster, 0, 1), ElementsAre("node0/gpu0/pcie-up", "node0/gpu1/pcie-down"));
  EXPECT_THAT(hops(cluster, 0, 3),
              ElementsAre("node0/gpu0/pcie-up", "node0/pcie0/pcie-up", "node0/host0-host1-up",
                          "node0/pcie1/pcie-down", "node0/gpu3/pcie-down"));
  EXPECT_THAT(hops(cluster, 0, 4),
              ElementsAre("node0/gpu0/pcie-up", "node0/nic0/pcie-down", "node0/nic0/port-up",
                          "node1/nic0/port-down", "node1/nic0/pcie-up", "node1/gpu0/pcie-down"));
  EXPECT_THAT(hops(cluster, 3, 4),
              ElementsAre("node0/gpu3/pcie-up", "node0/pcie1/pcie-up", "node0/host0-host1-down",
                          "node0/pcie0/pcie-down", "node0/nic0/pcie-down", "node0/nic0/port-up",
                          "node1/nic0/port-down", "node1/nic0/pcie-up", "node1/gpu0/pcie-down"));
  // 1 + 1 + 3 + 1 + 1 + 2 + 2 + 1 + 1
  EXPECT_EQ(Routes(cluster).route(DeviceId(3), DeviceId(4)).latency, std::chrono::microseconds(13));
  EXPECT_EQ(cluster.devices[3].scale_up_domain, 0);
  EXPECT_EQ(cluster.devices[4].scale_up_domain, 1);
}

TEST(Generators, PcieBoxOfDifferentDevices) {
  const Cluster cluster = cluster_of(
      "{use: pcie-box, gpus: 2, nics: 2, nics_at: host, node_groups: [{boxes: 1, device: x}, "
      "{boxes: 1, device: y, gpus: 4}], pcie: {bandwidth: 32 GB/s}, "
      "host_link: {bandwidth: 20 GB/s}, nic: {bandwidth: 25 GB/s}}");
  EXPECT_EQ(cluster.device_count(), 6);
  EXPECT_EQ(cluster.devices[2].device_type, "y");
  EXPECT_EQ(link_named(cluster, "node1/nic1/pcie-up").capacity, Bandwidth(32e9));
}

TEST(Generators, NvlinkDomainSpansTrays) {
  const Cluster cluster = cluster_of("{use: gb200-nvl72}");
  EXPECT_EQ(cluster.device_count(), 72);
  EXPECT_EQ(cluster.node_count(), 18);
  EXPECT_THAT(hops(cluster, 0, 71), ElementsAre("node0/gpu0/nvlink-up", "node17/gpu3/nvlink-down"));
  EXPECT_EQ(cluster.devices[71].scale_up_domain, 0);
  for (const Link& link : cluster.links) EXPECT_EQ(link.kind, LinkKind::kNvlink);
}

TEST(Generators, NvlinkDomainsAreJoinedByNics) {
  const Cluster cluster = cluster_of("{use: gb200-nvl72, domains: 2, spraying: ideal}");
  EXPECT_EQ(cluster.device_count(), 144);
  EXPECT_THAT(hops(cluster, 1, 73), ElementsAre("node0/gpu1/nic-up", "rail1/leaf0-spine",
                                                "spine-rail1/leaf1", "node18/gpu1/nic-down"));
  EXPECT_EQ(cluster.devices[72].scale_up_domain, 1);
}

TEST(Generators, NvlinkDomainByNodesMayBePartial) {
  EXPECT_EQ(cluster_of("{use: gb200-nvl72, nodes: 4}").device_count(), 16);
  const Cluster two = cluster_of("{use: gb200-nvl72, nodes: 20}");
  EXPECT_EQ(two.device_count(), 80);
  EXPECT_EQ(two.devices[79].scale_up_domain, 1);
}

TEST(Generators, LinkNamesAreUniqueAndCablesAreSymmetric) {
  for (const char* yaml :
       {"{use: hgx-h100, nodes: 20, nodes_per_leaf: 8}", "{use: gb200-nvl72, domains: 2}",
        "{use: pcie-box, boxes: 3, gpus: 8, gpus_per_pcie_switch: 2, sockets: 4, nics: 3, device: "
        "x, "
        "pcie: {bandwidth: 32 GB/s}, host_link: {bandwidth: 20 GB/s}, nic: {bandwidth: 25 "
        "GB/s}}"}) {
    const Cluster cluster = cluster_of(yaml);
    std::set<std::string> names;
    std::multiset<std::tuple<VertexId, VertexId, double>> there, back;
    for (const Link& link : cluster.links) {
      EXPECT_TRUE(names.insert(link.name).second) << link.name;
      there.insert({link.from, link.to, link.capacity.count()});
      back.insert({link.to, link.from, link.capacity.count()});
    }
    EXPECT_EQ(there, back) << yaml;
  }
}

}  // namespace
}  // namespace sim
