#include "topologies/cluster_summary.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "tests/topologies/reading.h"
#include "topologies/bisection.h"

namespace sim {
namespace {

using testing::cluster_of;

TEST(Bisection, OfHgxIsNicsAndSpines) {
  // Half of 4 nodes: 2 nodes x 8 NICs x 50 GB/s, the spines hold them all.
  EXPECT_EQ(bisection_bandwidth(cluster_of("{use: hgx-h100, nodes: 4}")), Bandwidth(800e9));
  // Inside one node: 4 GPUs x 450 GB/s of NVLink and 4 x 50 GB/s over NICs and spines.
  EXPECT_EQ(bisection_bandwidth(cluster_of("{use: hgx-h100}")), Bandwidth(2000e9));
}

TEST(Bisection, OversubscriptionCutsItAcrossLeaves) {
  // 32 nodes: 16 x 8 NICs x 50 GB/s = 6.4 TB/s between the two leaf groups, at 4:1 a quarter.
  EXPECT_EQ(bisection_bandwidth(cluster_of("{use: hgx-h100, nodes: 32}")), Bandwidth(6400e9));
  EXPECT_EQ(bisection_bandwidth(cluster_of("{use: hgx-h100, nodes: 32, oversubscription: 4}")),
            Bandwidth(1600e9));
  EXPECT_EQ(bisection_bandwidth(
                cluster_of("{use: hgx-h100, nodes: 32, oversubscription: 4, spraying: ideal}")),
            Bandwidth(1600e9));
}

TEST(Bisection, FlowTurnsBackOutOfADeadEnd) {
  // The greedy path a-s-t-b would block one of the two disjoint ones; 5 + 5 fit.
  const Cluster cluster = cluster_of(R"(
generator: custom
nodes: [{name: n, device: x, gpus: 2}]
switches: [s, t, dead]
links:
  - {from: n/gpu0, to: s, bandwidth: 5 GB/s}
  - {from: n/gpu0, to: t, bandwidth: 5 GB/s}
  - {from: s, to: t, bandwidth: 5 GB/s}
  - {from: s, to: dead, bandwidth: 50 GB/s}
  - {from: s, to: n/gpu1, bandwidth: 5 GB/s}
  - {from: t, to: n/gpu1, bandwidth: 5 GB/s}
)");
  EXPECT_EQ(bisection_bandwidth(cluster), Bandwidth(10e9));
}

TEST(Bisection, NoneForOneGpu) {
  EXPECT_EQ(bisection_bandwidth(cluster_of("{use: hgx-h100, gpus_per_node: 1}")), std::nullopt);
}

TEST(ClusterSummary, SaysWhatTheClusterIs) {
  EXPECT_EQ(describe(cluster_of("{use: single-switch, gpus: 4, device: h100-sxm, port: {bandwidth: "
                                "50 GB/s, latency: 1 us, label: published, source: a sheet}}")),
            R"(single-switch: 4 nodes, 4 GPUs
  4 nodes of 1 x h100-sxm
links
  nic            8 links, 50.0 GB/s each, up to 1.00 us latency
  a transfer takes 1 of its shortest paths, by hash
bisection 100 GB/s per direction between the first and the other half of the GPUs
figures
  port: 50.0 GB/s (published: a sheet)
  port latency: 1.00 us per link (assumed: test.yaml:1)
)");
}

TEST(ClusterSummary, FitsAScreen) {
  for (const std::string& name : testing::catalog().names) {
    const Cluster cluster = cluster_of("{use: " + name + ", nodes: 20}");
    const std::string text = describe(cluster);
    EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 40) << text;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
    if (!cluster.communication.empty()) {
      EXPECT_NE(text.find("deepep-low-latency dispatch"), std::string::npos);
    }
  }
}

TEST(ClusterSummary, NamesGroupsOfNodes) {
  const std::string text = describe(
      cluster_of("{use: hgx-h100, node_groups: [{nodes: 2}, {nodes: 1, device: a100-sxm-80gb, nic: "
                 "{bandwidth: 25 GB/s}}]}"));
  EXPECT_NE(text.find("  2 nodes of 8 x h100-sxm\n  1 node of 8 x a100-sxm-80gb\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("25.0 GB/s to 50.0 GB/s each"), std::string::npos) << text;
}

}  // namespace
}  // namespace sim
