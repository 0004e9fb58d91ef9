// Levels of clusters, sparse counts of copies, and the ports of an exchange worked out by hand.
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "sim/core/observer.h"
#include "sim/policies/collectives/ports_body.h"
#include "sim/policies/placement/replica_split.h"
#include "tests/support/rail_cluster.h"
#include "tests/topologies/reading.h"
#include "traces/synthetic/synthetic.h"

namespace sim {
namespace {

using testing::cluster_of;

std::string reason_of(const std::string& yaml) {
  std::string reason = "has levels";
  find_port_levels(cluster_of(yaml), reason);
  return reason;
}

TEST(PortLevels, AreFoundWhereAGpuHasOneScaleUpPortAndOneNic) {
  EXPECT_EQ(reason_of("{use: hgx-h100, nodes: 4}"), "has levels");
  EXPECT_EQ(reason_of("{use: gb200-nvl72, domains: 2}"), "has levels");
  EXPECT_EQ(reason_of("{use: gb200-nvl72}"), "has levels");
  EXPECT_EQ(reason_of("{use: single-switch, gpus: 8, device: h100-sxm, "
                      "port: {bandwidth: 50 GB/s, latency: 1 us}}"),
            "has levels");
}

TEST(PortLevels, AreRefusedWithTheLinkThatDoesNotFit) {
  EXPECT_EQ(reason_of("{use: pcie-box, boxes: 2, gpus: 4, device: h100-sxm, "
                      "pcie: {bandwidth: 50 GB/s, latency: 1 us}, "
                      "host_link: {bandwidth: 50 GB/s, latency: 1 us}, "
                      "nic: {bandwidth: 50 GB/s, latency: 1 us}}"),
            "the switches that GPUs hang on are not all joined by the same spines (node1/pcie0)");
  EXPECT_EQ(reason_of("{generator: custom, nodes: [{name: a, device: h100-sxm, gpus: 2}], "
                      "links: [{from: a/gpu0, to: a/gpu1, bandwidth: 1 GB/s}]}"),
            "a/gpu0 is joined to a/gpu1 without a switch");
  EXPECT_EQ(reason_of("{generator: custom, nodes: [{name: a, device: h100-sxm, gpus: 2}], "
                      "switches: [s, t], links: ["
                      "{from: a/gpu0, to: s, bandwidth: 1 GB/s, kind: nic}, "
                      "{from: a/gpu1, to: s, bandwidth: 1 GB/s, kind: nic}, "
                      "{from: a/gpu1, to: t, bandwidth: 1 GB/s, kind: nic}]}"),
            "a/gpu1 has several ports of kind nic");
}

// What the levels say of a pair is the path that a flow takes.
TEST(PortLevels, DistancesAreTheLinksOfTheRoutes) {
  for (const char* yaml : {"{use: hgx-h100, nodes: 18, nodes_per_leaf: 4}",
                           "{use: single-switch, gpus: 8, device: h100-sxm, "
                           "port: {bandwidth: 50 GB/s, latency: 1 us}}"}) {
    const Cluster cluster = cluster_of(yaml);
    std::string reason;
    const auto levels = find_port_levels(cluster, reason);
    ASSERT_TRUE(levels) << reason;
    Routes routes(cluster);
    const int stride = cluster.device_count() > 20 ? 7 : 1;
    for (int a = 0; a < cluster.device_count(); a += stride) {
      for (int b = 0; b < cluster.device_count(); ++b) {
        if (a == b) continue;
        const Route route = routes.route(DeviceId(a), DeviceId(b));
        const PortDistance distance = levels->distance(DeviceId(a), DeviceId(b));
        EXPECT_EQ(route.links.size(), distance == PortDistance::kSpine ? 4U : 2U);
        const bool nvlink = cluster.links[route.links.front().index()].kind == LinkKind::kNvlink;
        EXPECT_EQ(nvlink, distance == PortDistance::kDomain) << a << " to " << b;
      }
    }
  }
}

// Token by token and as counts, for every form: the sparse counts are those of count_copies.
TEST(PortCopies, AreTheCountsOfTheFullTables) {
  for (const std::int64_t budget : {std::int64_t{0}, std::int64_t{1} << 20}) {
    SyntheticSpec spec;
    spec.token_budget = budget;
    const int ranks = 12, experts = 32, top_k = 4;
    const auto source =
        make_synthetic(spec, {experts}, top_k, std::vector<std::int64_t>(12, 40), 3);
    LayerRouting routing;
    source->fill(0, 0, routing);
    std::vector<ExpertId> slots;
    for (int s = 0; s < 36; ++s) slots.emplace_back(s % experts);
    const ExpertPlacement placement = make_placement(experts, ranks, slots);
    SlotAssignment assignment;
    assign_slots(find_replica_split("modulo"), {routing, placement, 4}, assignment);
    std::vector<int> nodes;
    for (int r = 0; r < ranks; ++r) nodes.push_back(r / 4);
    CopyCounts full;
    count_copies(routing, assignment, placement, nodes, top_k, full);
    for (const PortForm form : {PortForm::kPerRow, PortForm::kPerRank, PortForm::kPerNode}) {
      PortCopies sparse;
      count_port_copies(routing, assignment, placement, nodes, top_k, form, sparse);
      const PortCopies wanted = port_copies(full, nodes, form);
      EXPECT_EQ(sparse.own, wanted.own);
      EXPECT_EQ(sparse.tokens, wanted.tokens);
      EXPECT_EQ(sparse.estimated, wanted.estimated);
      if (form != PortForm::kPerRow) EXPECT_EQ(sparse.node_sum, wanted.node_sum);
      for (const auto& [got, want] :
           {std::pair{&sparse.to_ranks, &wanted.to_ranks}, {&sparse.to_nodes, &wanted.to_nodes}}) {
        ASSERT_EQ(got->begin, want->begin);
        for (std::size_t i = 0; i < want->entries.size(); ++i) {
          EXPECT_EQ(got->entries[i].to, want->entries[i].to);
          EXPECT_EQ(got->entries[i].copies, want->entries[i].copies);
        }
      }
    }
  }
}

// Two nodes of two GPUs; bytes per resource of the body of an exchange.
struct Loads {
  std::map<std::string, double> bytes;
  std::vector<std::pair<std::int64_t, std::int64_t>> traffic;  // sent, received, per device
};
Loads loads_of(const CopyCounts& counts, PortForm form, Direction direction) {
  const Cluster cluster = testing::rail_cluster(2, 2);
  Routes routes(cluster);
  EventLoop loop;
  Observer observer;
  TaskGraph graph(loop, observer, {0, 1, 2, 3});
  const std::vector<Bandwidth> memory(4, Bandwidth(1e12));
  ClusterNetwork network(cluster, routes, graph.network(), memory);
  std::string reason;
  const auto levels = find_port_levels(cluster, reason);
  EXPECT_TRUE(levels) << reason;
  PortNetwork ports(*levels, network, graph.network());
  const std::vector<DeviceId> ranks = {DeviceId(0), DeviceId(1), DeviceId(2), DeviceId(3)};
  const std::vector<int> nodes = {0, 0, 1, 1};
  Exchange exchange;
  exchange.direction = direction;
  exchange.ranks = ranks;
  exchange.node_of_rank = nodes;
  exchange.bytes_per_copy = Bytes(100);
  CollectiveBody body;
  Loads loads;
  make_port_body(
      exchange, port_copies(counts, nodes, form), assumed_startup(), ports,
      [&](DeviceId, Bytes sent, Bytes received) {
        loads.traffic.emplace_back(sent.count(), received.count());
      },
      body);
  for (const PortBody::Port& port : body.ports->ports) {
    for (std::uint32_t u = port.uses_begin; u < port.uses_end; ++u) {
      const ResourceUse& use = body.ports->uses[u];
      std::string name = "other";
      for (std::size_t l = 0; l < cluster.links.size(); ++l) {
        if (network.link(LinkId(static_cast<std::int64_t>(l))) == use.resource)
          name = cluster.links[l].name;
      }
      for (const PortNetwork::Cut& cut : ports.cuts()) {
        if (cut.resource == use.resource) name = cut.name;
      }
      loads.bytes[name] += use.multiplier * static_cast<double>(port.bytes.count());
    }
  }
  return loads;
}

// Rank 0 sends 3 copies to rank 1, 5 to rank 2 (its rail) and 7 to rank 3 (the other rail).
CopyCounts one_source() {
  CopyCounts counts;
  counts.ranks = 4;
  counts.nodes = 2;
  counts.rows = {0, 3, 5, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
  counts.rank_copies = counts.rows;
  counts.node_copies = {3, 9, 0, 0, 0, 0, 0, 0};
  counts.tokens = {10, 0, 0, 0};
  return counts;
}

TEST(PortBody, CrossesTheLinksOfADirectExchange) {
  const Loads dispatch = loads_of(one_source(), PortForm::kPerRow, Direction::kDispatch);
  const std::map<std::string, double> wanted = {
      {"n0/gpu0/nvlink-up", 300}, {"n0/gpu1/nvlink-down", 300}, {"n0/gpu0/nic-up", 1200},
      {"leaf0/uplinks", 700},     {"leaf1/downlinks", 700},     {"n1/gpu0/nic-down", 500},
      {"n1/gpu1/nic-down", 700}};
  ASSERT_EQ(dispatch.bytes.size(), wanted.size());
  for (const auto& [name, bytes] : wanted)
    EXPECT_NEAR(dispatch.bytes.at(name), bytes, 1e-9) << name;
  EXPECT_EQ(dispatch.traffic, (std::vector<std::pair<std::int64_t, std::int64_t>>{
                                  {1500, 0}, {0, 300}, {0, 500}, {0, 700}}));
  // Back the same way.
  const Loads combine = loads_of(one_source(), PortForm::kPerRow, Direction::kCombine);
  const std::map<std::string, double> back = {
      {"n0/gpu0/nvlink-down", 300}, {"n0/gpu1/nvlink-up", 300}, {"n0/gpu0/nic-down", 1200},
      {"leaf0/downlinks", 700},     {"leaf1/uplinks", 700},     {"n1/gpu0/nic-up", 500},
      {"n1/gpu1/nic-up", 700}};
  ASSERT_EQ(combine.bytes.size(), back.size());
  for (const auto& [name, bytes] : back) EXPECT_NEAR(combine.bytes.at(name), bytes, 1e-9) << name;
}

// 9 distinct copies go to the rail's rank of the other node, which passes 7 on over NVLink.
TEST(PortBody, CrossesTheRelayWhenCopiesAreForwarded) {
  const Loads dispatch = loads_of(one_source(), PortForm::kPerNode, Direction::kDispatch);
  const std::map<std::string, double> wanted = {
      {"n0/gpu0/nvlink-up", 300}, {"n0/gpu1/nvlink-down", 300}, {"n0/gpu0/nic-up", 900},
      {"n1/gpu0/nic-down", 900},  {"n1/gpu0/nvlink-up", 700},   {"n1/gpu1/nvlink-down", 700}};
  ASSERT_EQ(dispatch.bytes.size(), wanted.size());
  for (const auto& [name, bytes] : wanted)
    EXPECT_NEAR(dispatch.bytes.at(name), bytes, 1e-9) << name;
}

TEST(PortBody, NamesTheAlgorithmsThatItIsDefinedFor) {
  EXPECT_EQ(port_algorithms(), "nccl, deepep-low-latency, deepep-normal, nvlink-one-sided");
  EXPECT_FALSE(port_form("2dh"));
}

}  // namespace
}  // namespace sim
