#include <gtest/gtest.h>

#include <algorithm>

#include "tests/topologies/reading.h"
#include "topologies/parameters.h"

namespace sim {
namespace {

using testing::catalog;
using testing::cluster_of;
using testing::link_named;

bool is_label(const std::string& label) {
  const auto labels = figure_labels();
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}

TEST(Catalog, EveryFileReadsValidatesAndNamesItsSources) {
  const CatalogLookup lookup = catalog();
  EXPECT_GE(lookup.names.size(), 6U);
  int with_exchanges = 0;
  for (const std::string& name : lookup.names) {
    for (const char* nodes : {"1", "4", "33"}) {
      const Cluster cluster = cluster_of("{use: " + name + ", nodes: " + nodes + "}");
      EXPECT_EQ(cluster.name, name);
      EXPECT_EQ(cluster.node_count(), std::stoi(nodes));
      EXPECT_FALSE(cluster.source.empty()) << name;
      for (const Figure& figure : cluster.figures) {
        EXPECT_TRUE(is_label(figure.label)) << name << " " << figure.what;
        EXPECT_FALSE(figure.source.empty()) << name << " " << figure.what;
      }
      // Boxes that were measured for collectives only.
      if (cluster.communication.empty()) continue;
      ++with_exchanges;
      // Machines that were measured for some kernels only name those.
      if (!name.starts_with("hgx") && !name.starts_with("gb200")) continue;
      for (const char* algorithm : {"deepep-low-latency", "deepep-normal", "nccl"}) {
        const AlgorithmConstants* found = find_constants(cluster, algorithm, cluster.node_count());
        ASSERT_NE(found, nullptr) << name << " " << algorithm;
        EXPECT_GT(found->dispatch.base.count(), 0);
        EXPECT_GT(found->combine.base.count(), 0);
      }
      for (const auto& [algorithm, operation] : {std::pair{"nccl", "all-to-all"},
                                                 {"nccl-ring", "all-gather"},
                                                 {"nccl-ring", "reduce-scatter"}}) {
        EXPECT_NE(find_collective(cluster, algorithm, operation, cluster.node_count(),
                                  cluster.device_count(), Bytes(1 << 20)),
                  nullptr)
            << name << " " << operation;
      }
    }
  }
  EXPECT_GE(with_exchanges, 18);  // six machines at three sizes
}

// Line rates per direction and GPU, from the data sheets (GB/s).
TEST(Catalog, PortsHaveTheirPublishedRates) {
  struct Row {
    const char* name;
    const char* device;
    double nvlink;
    double nic;
  };
  const Row rows[] = {{"hgx-a100", "a100-sxm-80gb", 300, 25},
                      {"hgx-h100", "h100-sxm", 450, 50},
                      {"hgx-h800", "h800-sxm", 200, 50},
                      {"hgx-h200", "h200-sxm", 450, 50},
                      {"hgx-b200", "b200-sxm", 900, 50}};
  for (const Row& row : rows) {
    const Cluster cluster = cluster_of("{use: " + std::string(row.name) + ", nodes: 2}");
    EXPECT_EQ(cluster.devices[0].device_type, row.device);
    EXPECT_EQ(cluster.nodes[0].devices.size(), 8U);
    EXPECT_EQ(link_named(cluster, "node1/gpu7/nvlink-down").capacity.count(), row.nvlink * 1e9);
    EXPECT_EQ(link_named(cluster, "node1/gpu7/nic-up").capacity.count(), row.nic * 1e9);
  }
}

TEST(Catalog, InfiniBandLatencyIsThePublishedOne) {
  // Insights into DeepSeek-V3, Table 5: 2.8 us under one leaf, 3.7 us across leaves.
  const Cluster cluster = cluster_of("{use: hgx-h800, nodes: 17}");
  Routes routes(cluster);
  EXPECT_EQ(routes.route(DeviceId(0), DeviceId(8)).latency, std::chrono::nanoseconds(2800));
  EXPECT_EQ(routes.route(DeviceId(0), DeviceId(128)).latency, std::chrono::nanoseconds(3700));
}

}  // namespace
}  // namespace sim
