#include "topologies/routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <queue>
#include <set>

#include "sim/core/random.h"
#include "tests/topologies/reading.h"
#include "topologies/cluster_builder.h"

namespace sim {
namespace {

using testing::cluster_of;
using testing::hops;

const std::string kHgx =
    "use: hgx, device: x, nvlink: {bandwidth: 450 GB/s, latency: 1 us}, "
    "nic: {bandwidth: 50 GB/s, latency: 2 us}, fabric: {latency: 500 ns}";

// Fewest links from one device to every vertex, found the slow and obvious way.
std::vector<int> distances(const Cluster& cluster, int source) {
  std::vector<int> distance(cluster.vertex_names.size(), -1);
  std::queue<int> queue;
  distance[static_cast<std::size_t>(source)] = 0;
  queue.push(source);
  while (!queue.empty()) {
    const int here = queue.front();
    queue.pop();
    if (here != source && here < cluster.device_count()) continue;
    for (const Link& link : cluster.links) {
      if (link.from.value() != here || distance[link.to.index()] >= 0) continue;
      distance[link.to.index()] = distance[static_cast<std::size_t>(here)] + 1;
      queue.push(link.to.value());
    }
  }
  return distance;
}

// A route is a chain from source to destination, as short as can be, through no other GPU.
void expect_right(const Cluster& cluster, const Route& route, int source, int destination,
                  int distance) {
  ASSERT_EQ(static_cast<int>(route.links.size()), distance);
  VertexId here(source);
  Duration latency{};
  for (const LinkId id : route.links) {
    const Link& link = cluster.links[id.index()];
    EXPECT_EQ(link.from, here);
    here = link.to;
    latency += link.latency;
    if (id != route.links.back()) {
      EXPECT_GE(here.value(), cluster.device_count()) << "GPUs forward nothing";
    }
  }
  EXPECT_EQ(here, VertexId(destination));
  EXPECT_EQ(latency, route.latency);
}

void expect_all_right(const Cluster& cluster) {
  Routes routes(cluster);
  for (int s = 0; s < cluster.device_count(); ++s) {
    const std::vector<int> distance = distances(cluster, s);
    for (int d = 0; d < cluster.device_count(); ++d) {
      if (s == d) continue;
      const int wanted = distance[static_cast<std::size_t>(d)];
      EXPECT_EQ(routes.reachable(DeviceId(s), DeviceId(d)), wanted >= 0);
      if (wanted < 0) continue;
      expect_right(cluster, routes.route(DeviceId(s), DeviceId(d)), s, d, wanted);
    }
  }
}

TEST(Routes, AreShortestChainsInEveryShape) {
  expect_all_right(cluster_of("{" + kHgx + ", nodes: 5, nodes_per_leaf: 2, paths_per_flow: 2}"));
  expect_all_right(cluster_of("{use: gb200-nvl72, nodes: 6, gpus: 8}"));
  expect_all_right(cluster_of(
      "{use: pcie-box, boxes: 3, gpus: 8, gpus_per_pcie_switch: 2, sockets: 2, nics: 3, device: x, "
      "nodes_per_leaf: 2, pcie: {bandwidth: 32 GB/s}, host_link: {bandwidth: 20 GB/s}, "
      "nic: {bandwidth: 25 GB/s}}"));
}

TEST(Routes, AgreeWithASlowSearchOnRandomGraphsAlsoDisconnectedOnes) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    RandomStream random(seed, "random graph");
    ClusterBuilder builder("random");
    const int gpus = 2 + static_cast<int>(random.below(6));
    for (int i = 0; i < gpus; ++i) builder.add_node("n" + std::to_string(i), "x", 1);
    const int switches = static_cast<int>(random.below(8));
    for (int i = 0; i < switches; ++i) builder.add_switch("s" + std::to_string(i));
    const auto vertices = static_cast<std::uint64_t>(gpus + switches);
    const auto links = static_cast<int>(random.below(5 * vertices));
    for (int i = 0; i < links; ++i) {
      const VertexId from(static_cast<std::int64_t>(random.below(vertices)));
      const VertexId to(static_cast<std::int64_t>(random.below(vertices)));
      if (from == to) continue;
      PortFigure port;
      port.bandwidth = Bandwidth(1e9);
      port.latency = Duration(static_cast<std::int64_t>(random.below(1000)));
      builder.add_link("l" + std::to_string(i), from, to, port, LinkKind::kFabric);
    }
    expect_all_right(builder.finish());
  }
}

TEST(Routes, DependOnNothingButThePairAndThePath) {
  const Cluster cluster = cluster_of("{" + kHgx + ", nodes: 8, nodes_per_leaf: 4}");
  Routes forwards(cluster);
  Routes backwards(cluster);
  std::vector<Route> first;
  for (int d = 1; d < 64; ++d) first.push_back(forwards.route(DeviceId(0), DeviceId(d), 3));
  for (int d = 63; d >= 1; --d) {
    const Route again = backwards.route(DeviceId(0), DeviceId(d), 3);
    EXPECT_EQ(again.links, first[static_cast<std::size_t>(d) - 1].links);
  }
}

TEST(Routes, ReusedRouteIsTheSame) {
  const Cluster cluster = cluster_of("{" + kHgx + ", nodes: 4}");
  Routes routes(cluster);
  Route reused;
  for (int d = 1; d < 32; ++d) {
    routes.route_into(DeviceId(0), DeviceId(d), 1, reused);
    const Route fresh = routes.route(DeviceId(0), DeviceId(d), 1);
    EXPECT_EQ(reused.links, fresh.links);
    EXPECT_EQ(reused.latency, fresh.latency);
  }
}

TEST(Routes, HashSpreadsPairsEvenlyOverSpines) {
  // 16 spines; 16 nodes x 8 rails send to 16 nodes of another leaf group: 128 x 128 crossing pairs.
  const Cluster cluster = cluster_of("{" + kHgx + ", nodes: 32}");
  Routes routes(cluster);
  std::map<std::int32_t, int> uses;
  for (int s = 0; s < 128; ++s) {
    for (int d = 128; d < 256; ++d) {
      const Route route = routes.route(DeviceId(s), DeviceId(d));
      ASSERT_EQ(route.links.size(), 4U);
      ++uses[cluster.links[route.links[1].index()].to.value()];
    }
  }
  ASSERT_EQ(uses.size(), 16U);
  // Binomial: mean 1024, standard deviation 31; 5 of them.
  for (const auto& [spine, count] : uses) EXPECT_NEAR(count, 1024, 155);
}

TEST(Routes, PathsOfAFlowSpreadOverSpines) {
  const Cluster cluster = cluster_of("{" + kHgx + ", nodes: 32, paths_per_flow: 64}");
  std::set<std::string> first_spines;
  for (int path = 0; path < 64; ++path) first_spines.insert(hops(cluster, 0, 128, path)[1]);
  // 64 throws at 16: (15/16)^64 * 16 = 0.26 spines are missed on average.
  EXPECT_GE(first_spines.size(), 13U);
}

TEST(Routes, LatencyIsTheSameBothWays) {
  const Cluster cluster = cluster_of("{use: hgx-h100, nodes: 6, nodes_per_leaf: 2}");
  Routes routes(cluster);
  for (int s = 0; s < 48; ++s) {
    for (int d = 0; d < s; ++d) {
      EXPECT_EQ(routes.route(DeviceId(s), DeviceId(d)).latency,
                routes.route(DeviceId(d), DeviceId(s)).latency);
    }
  }
}

TEST(Routes, ParallelLinksAreDifferentPaths) {
  const Cluster cluster = cluster_of(R"(
generator: custom
nodes: [{name: a, device: x, gpus: 1}, {name: b, device: x, gpus: 1}]
switches: [s, t]
links:
  - {from: a/gpu0, to: s, bandwidth: 50 GB/s, parallel: 2}
  - {from: s, to: t, bandwidth: 50 GB/s, parallel: 4}
  - {from: b/gpu0, to: t, bandwidth: 50 GB/s}
)");
  std::map<std::string, int> first, middle;
  for (int path = 0; path < 64; ++path) {
    const auto names = hops(cluster, 0, 1, path);
    ASSERT_EQ(names.size(), 3U);
    ++first[names[0]];
    ++middle[names[1]];
  }
  EXPECT_EQ(first.size(), 2U);
  EXPECT_EQ(middle.size(), 4U);
  for (const auto& [name, count] : middle) EXPECT_NEAR(count, 16, 14) << name;
}

TEST(Routes, DirectLinksBetweenGpusWin) {
  const Cluster cluster = cluster_of(R"(
generator: custom
nodes: [{name: a, device: x, gpus: 3}]
switches: [s]
links:
  - {from: a/gpu0, to: a/gpu1, bandwidth: 50 GB/s, kind: nvlink}
  - {from: a/gpu1, to: a/gpu2, bandwidth: 50 GB/s, kind: nvlink}
  - {from: a/gpu0, to: s, bandwidth: 10 GB/s, kind: pcie}
  - {from: a/gpu1, to: s, bandwidth: 10 GB/s, kind: pcie}
  - {from: a/gpu2, to: s, bandwidth: 10 GB/s, kind: pcie}
)");
  EXPECT_THAT(hops(cluster, 0, 1), ::testing::ElementsAre("a/gpu0-a/gpu1-up"));
  // gpu1 does not forward for gpu0.
  EXPECT_THAT(hops(cluster, 0, 2), ::testing::ElementsAre("a/gpu0-s-up", "a/gpu2-s-down"));
}

TEST(Routes, NoPathIsAnErrorThatNamesBothEnds) {
  ClusterBuilder builder("islands");
  builder.add_node("a", "x", 1);
  builder.add_node("b", "x", 1);
  const Cluster cluster = builder.finish();
  Routes routes(cluster);
  EXPECT_FALSE(routes.reachable(DeviceId(0), DeviceId(1)));
  try {
    routes.route(DeviceId(0), DeviceId(1));
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "no path leads from a/gpu0 to b/gpu0 in cluster 'islands'; GPUs forward nothing "
                 "for others: join their switches");
  }
  EXPECT_THROW(routes.route(DeviceId(0), DeviceId(0)), InternalError);
  EXPECT_THROW(routes.route(DeviceId(0), DeviceId(2)), InternalError);
}

TEST(Routes, ForgettingOldTablesChangesNothing) {
  // Every box is a family of its own with a table of some 300 KB: together more than the 256 MiB
  // that are kept, so the second round meets tables that were dropped.
  const Cluster cluster = cluster_of(
      "{use: pcie-box, boxes: 1200, gpus: 1, nics: 8, device: x, pcie: {bandwidth: 32 GB/s}, "
      "host_link: {bandwidth: 20 GB/s}, nic: {bandwidth: 25 GB/s}}");
  Routes routes(cluster);
  std::vector<Route> first;
  for (int d = 1; d < 1200; ++d) first.push_back(routes.route(DeviceId(0), DeviceId(d)));
  for (int d = 1; d < 1200; d += 13) {
    EXPECT_EQ(routes.route(DeviceId(0), DeviceId(d)).links,
              first[static_cast<std::size_t>(d) - 1].links);
  }
}

TEST(Routes, LargeClusterAMillionRandomRoutes) {
  const Cluster cluster = cluster_of("{use: hgx-h100, nodes: 256}");
  ASSERT_EQ(cluster.device_count(), 2048);
  Routes routes(cluster);
  RandomStream random(1, "pairs");
  Route route;
  std::size_t hops_in_all = 0;
  for (int i = 0; i < 1'000'000; ++i) {
    const auto s = static_cast<std::int64_t>(random.below(2048));
    const auto d =
        static_cast<std::int64_t>((static_cast<std::uint64_t>(s) + 1 + random.below(2047)) % 2048);
    routes.route_into(DeviceId(s), DeviceId(d), 0, route);
    hops_in_all += route.links.size();
  }
  // 7 of 2047 peers share the node, 15 the rail's leaf: 22 at 2 hops, the rest at 4.
  EXPECT_NEAR(static_cast<double>(hops_in_all) / 1e6, 4 - 2 * 22.0 / 2047, 1e-3);
}

// Two GPUs under one PCIe switch and one NVSwitch, each with a NIC of its own: a (rail 0) on the
// switch, b (rail 1) on the CPU.
const std::string kTwoWays =
    "{generator: node-graph, nodes: 2, device: x, gpus: 2, switches: [cpu, sw, nvs, a, b], "
    "links: [{name: p0, from: gpu0, to: sw, kind: pcie, port: pcie}, "
    "{name: p1, from: gpu1, to: sw, kind: pcie, port: pcie}, "
    "{name: s, from: sw, to: cpu, kind: pcie, port: pcie}, "
    "{name: a, from: a, to: sw, kind: pcie, port: pcie}, "
    "{name: b, from: b, to: cpu, kind: pcie, port: pcie}, "
    "{name: n0, from: gpu0, to: nvs, kind: nvlink, port: nvlink}, "
    "{name: n1, from: gpu1, to: nvs, kind: nvlink, port: nvlink}], "
    "nics: [{name: a, at: a, port: nic}, {name: b, at: b, port: nic}], "
    "pcie: {bandwidth: 30 GB/s}, nvlink: {bandwidth: 100 GB/s}, nic: {bandwidth: 25 GB/s}}";

TEST(Routes, TakeNvlinkBeforePcieAndTheNearestNic) {
  const Cluster cluster = cluster_of(kTwoWays);
  EXPECT_THAT(hops(cluster, 0, 1), ::testing::ElementsAre("node0/n0-up", "node0/n1-down"));
  for (int from = 0; from < 2; ++from) {
    const std::string pcie = "p" + std::to_string(from);
    EXPECT_THAT(hops(cluster, from, 2),
                ::testing::ElementsAre("node0/" + pcie + "-up", "node0/a-down", "node0/a/port-up",
                                       "node1/a/port-down", "node1/a-up", "node1/p0-down"));
  }
}

TEST(Routes, LeadAroundWhatIsAvoidedAndBackAgain) {
  const Cluster cluster = cluster_of(kTwoWays);
  const auto names = [&](const Route& route) {
    std::vector<std::string> result;
    for (const LinkId link : route.links) result.push_back(cluster.links[link.index()].name);
    return result;
  };
  const auto link = [&](const std::string& name) {
    for (std::size_t l = 0; l < cluster.links.size(); ++l) {
      if (cluster.links[l].name == name) return LinkId(static_cast<std::int64_t>(l));
    }
    return LinkId();
  };
  Routes routes(cluster);
  const Route before = routes.route(DeviceId(0), DeviceId(2));
  routes.avoid(link("node0/a/port-up"), true);
  EXPECT_THAT(names(routes.route(DeviceId(0), DeviceId(2))), ::testing::Contains("node0/b/port-up"))
      << "the NIC that is left";
  EXPECT_THAT(names(routes.route(DeviceId(2), DeviceId(0))),
              ::testing::Contains("node0/a/port-down"))
      << "the other direction is whole";
  routes.avoid(link("node0/b/port-up"), true);
  EXPECT_EQ(routes.route(DeviceId(0), DeviceId(2)).links, before.links) << "there is no other way";
  routes.avoid(link("node0/n0-up"), true);
  EXPECT_THAT(names(routes.route(DeviceId(0), DeviceId(1))),
              ::testing::ElementsAre("node0/p0-up", "node0/p1-down"));
  for (const char* name : {"node0/a/port-up", "node0/b/port-up", "node0/n0-up"})
    routes.avoid(link(name), false);
  EXPECT_EQ(routes.route(DeviceId(0), DeviceId(2)).links, before.links);
}

}  // namespace
}  // namespace sim
