#include "topologies/validate.h"

#include <gtest/gtest.h>

#include <limits>

#include "tests/topologies/reading.h"
#include "topologies/cluster_builder.h"

namespace sim {
namespace {

using testing::cluster_of;
using testing::mistakes_of;

std::string mistakes_in(const Cluster& cluster) {
  Mistakes mistakes;
  validate(cluster, mistakes, {"c.yaml", 1, 2});
  return mistakes.empty() ? "none" : Error(mistakes.list()).what();
}

TEST(Validate, AnEmptyClusterHasNothing) {
  Cluster cluster;
  cluster.name = "void";
  EXPECT_EQ(
      mistakes_in(cluster),
      "c.yaml:1:2: cluster 'void': it has 0 nodes\nc.yaml:1:2: cluster 'void': it has 0 GPUs");
}

TEST(Validate, OneGpuNeedsNoLink) {
  ClusterBuilder builder("one");
  builder.add_node("a", "x", 1);
  EXPECT_EQ(mistakes_in(builder.finish()), "none");
}

TEST(Validate, DisconnectedGpusAreNamed) {
  EXPECT_EQ(mistakes_of(R"(generator: custom
nodes: [{name: node0, device: x, gpus: 4}]
switches: [s]
links:
  - {from: node0/gpu0, to: s, bandwidth: 1 GB/s}
  - {from: node0/gpu1, to: s, bandwidth: 1 GB/s}
  - {from: node0/gpu2, to: s, bandwidth: 1 GB/s}
  - {from: s, to: node0/gpu3, bandwidth: 1 GB/s, one_way: true}
)"),
            "test.yaml:1:1: cluster 'custom': gpu 3 of node 'node0' cannot reach gpu 0 of node "
            "'node0'; GPUs forward nothing for others: join their switches in both directions");
}

TEST(Validate, GpuBetweenTwoSwitchesDoesNotJoinThem) {
  // gpu0 reaches both others and both reach it, but gpu1 and gpu2 do not meet.
  EXPECT_EQ(mistakes_of(R"(generator: custom
nodes: [{name: n, device: x, gpus: 3}]
switches: [s, t]
links:
  - {from: n/gpu0, to: s, bandwidth: 1 GB/s}
  - {from: n/gpu0, to: t, bandwidth: 1 GB/s}
  - {from: n/gpu1, to: s, bandwidth: 1 GB/s}
  - {from: n/gpu2, to: t, bandwidth: 1 GB/s}
)"),
            "test.yaml:1:1: cluster 'custom': gpu 1 of node 'n' cannot reach gpu 2 of node 'n'; "
            "GPUs forward nothing for others: join their switches in both directions");
}

TEST(Validate, AMeshWithoutAnySwitchIsFine) {
  const Cluster cluster = cluster_of(R"(
generator: custom
nodes: [{name: n, device: x, gpus: 3}]
links:
  - {from: n/gpu0, to: n/gpu1, bandwidth: 1 GB/s, kind: nvlink}
  - {from: n/gpu1, to: n/gpu2, bandwidth: 1 GB/s, kind: nvlink}
  - {from: n/gpu2, to: n/gpu0, bandwidth: 1 GB/s, kind: nvlink}
)");
  EXPECT_EQ(mistakes_in(cluster), "none");
  EXPECT_EQ(cluster.devices[2].scale_up_domain, 0);
}

TEST(Validate, LinksMustMakeSense) {
  const Cluster good = cluster_of("{use: hgx-h100, nodes: 2}");
  EXPECT_EQ(mistakes_in(good), "none");
  Cluster bad = good;
  bad.links[0].capacity = Bandwidth(0);
  bad.links[1].capacity = Bandwidth(std::numeric_limits<double>::infinity());
  bad.links[2].latency = Duration(-1);
  bad.links[3].to = VertexId(1'000'000);
  EXPECT_EQ(mistakes_in(bad),
            "c.yaml:1:2: cluster 'hgx-h100': link 'node0/gpu0/nvlink-up' must have a positive "
            "bandwidth\n"
            "c.yaml:1:2: cluster 'hgx-h100': link 'node0/gpu0/nvlink-down' must have a positive "
            "bandwidth\n"
            "c.yaml:1:2: cluster 'hgx-h100': link 'node0/gpu1/nvlink-up' must not have a negative "
            "latency\n"
            "c.yaml:1:2: cluster 'hgx-h100': link 'node0/gpu1/nvlink-down' does not join two "
            "vertices");
  bad = good;
  bad.links[1].name = bad.links[0].name;
  EXPECT_EQ(
      mistakes_in(bad),
      "c.yaml:1:2: cluster 'hgx-h100': two links are called 'node0/gpu0/nvlink-up'; give them "
      "names, or write one with 'parallel: 2'");
}

TEST(Validate, GpusAreNumberedNodeByNode) {
  Cluster bad = cluster_of("{use: hgx-h100, nodes: 2}");
  std::swap(bad.nodes[0].devices[0], bad.nodes[1].devices[0]);
  EXPECT_EQ(
      mistakes_in(bad),
      "c.yaml:1:2: cluster 'hgx-h100': the GPUs of node 'node0' are not numbered node by node");
}

}  // namespace
}  // namespace sim
