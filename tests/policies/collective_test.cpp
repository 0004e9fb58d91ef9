// Collectives on two nodes of two GPUs by hand, and the published bytes per port over many shapes.
#include "sim/policies/collectives/collective.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "sim/core/error.h"
#include "tests/policies/transfers.h"

namespace sim {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

struct Call {
  testing::Fabric fabric;
  std::map<std::string, std::int64_t> traffic;
  CollectiveBody body;
  std::string label;

  explicit Call(Cluster cluster) : fabric(std::move(cluster)) {}
  void run(const char* operation, const char* algorithm, std::int64_t total,
           std::vector<int> gpus = {}, int root = 0, std::vector<SparsePiece> pieces = {}) {
    if (gpus.empty()) {
      gpus.resize(fabric.cluster.devices.size());
      std::iota(gpus.begin(), gpus.end(), 0);
    }
    const std::vector<DeviceId> devices(gpus.begin(), gpus.end());
    traffic.clear();
    body = CollectiveBody{};
    const TrafficSink sink = [&](DeviceId from, DeviceId to, Bytes bytes) {
      traffic[fmt::format("{}-{}", from.value(), to.value())] += bytes.count();
    };
    const CollectiveConstants* used =
        find_collective_algorithm(operation, algorithm)
            .make({operation, devices, Bytes(total), root, pieces}, fabric.network, sink, body);
    label = used == nullptr ? "assumed" : used->label;
  }
};

// Four ranks gather 4096 B: each passes on 3 of the 4 pieces, in two rings of 1536 B. Ring 0 goes
// 0, 1, then on rail 1 to rank 3, 2, and home on rail 0; ring 1 the other way about. Latency of
// three hops: two NICs (2 us) and one NVLink (200 ns).
TEST(Ring, EveryNicCarriesOneRingOutAndOneIn) {
  Call call(testing::rail_cluster(2, 2));
  call.run("all-gather", "nccl-ring", 4096);
  EXPECT_THAT(call.fabric.lines_of(call.body),
              ElementsAre("0 1 3 2: 1536 B after 4200 ns over n0/gpu0/nvlink-up x1, "
                          "n0/gpu1/nvlink-down x1, n1/gpu0/nvlink-down x1, n1/gpu1/nvlink-up x1, "
                          "n0/gpu0/nic-down x1, n0/gpu1/nic-up x1, n1/gpu0/nic-up x1, "
                          "n1/gpu1/nic-down x1",
                          "1 0 2 3: 1536 B after 4200 ns over n0/gpu0/nvlink-down x1, "
                          "n0/gpu1/nvlink-up x1, n1/gpu0/nvlink-up x1, n1/gpu1/nvlink-down x1, "
                          "n0/gpu0/nic-up x1, n0/gpu1/nic-down x1, n1/gpu0/nic-down x1, "
                          "n1/gpu1/nic-up x1"));
  EXPECT_THAT(call.traffic,
              UnorderedElementsAre(Pair("0-1", 1536), Pair("1-3", 1536), Pair("3-2", 1536),
                                   Pair("2-0", 1536), Pair("1-0", 1536), Pair("0-2", 1536),
                                   Pair("2-3", 1536), Pair("3-1", 1536)));
  EXPECT_THAT(call.body.startup, ElementsAre(Duration(0), Duration(0), Duration(0), Duration(0)));
  EXPECT_EQ(call.label, "assumed");
}

TEST(Ring, AllReduceGoesRoundTwice) {
  Call call(testing::rail_cluster(1, 4));
  call.run("all-reduce", "nccl-ring", 4096);
  ASSERT_EQ(call.body.transfers.size(), 1u);
  EXPECT_EQ(call.body.transfers[0].bytes, Bytes(6144));              // 2 * 3/4
  EXPECT_EQ(call.body.transfers[0].latency, Duration(6 * 200'000));  // 2 * 3 hops
  EXPECT_EQ(call.traffic.at("3-0"), 6144);
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
  Call call(cluster);
  call.run("all-gather", "nccl-ring", 4096);
  EXPECT_EQ(call.label, "fitted");
  EXPECT_EQ(call.body.startup[0], Duration(11'024'000));
  EXPECT_EQ(call.body.transfers[0].latency, Duration(0));  // it is in the fitted start
  const auto carried = call.fabric.carried(call.body);
  EXPECT_EQ(carried.at("n0/gpu0/nvlink-up"), 1536 * 2);
  EXPECT_EQ(carried.at("n0/gpu0/nic-up"), 1536 * 1.25);
  // They are of another operation: the reduce-scatter has none.
  call.run("reduce-scatter", "nccl-ring", 4096);
  EXPECT_EQ(call.label, "assumed");
  EXPECT_EQ(call.body.startup[0], Duration(0));
}

TEST(Ring, PiecesThatDoNotDivideAreRoundedUpAndNothingMovesNothing) {
  Call call(testing::rail_cluster(1, 4));
  call.run("all-gather", "nccl-ring", 10);
  ASSERT_EQ(call.body.transfers.size(), 1u);
  EXPECT_EQ(call.body.transfers[0].bytes, Bytes(8));  // 10 * 3/4 = 7.5
  for (const CollectiveAlgorithm& each : kCollectives) {
    call.run(each.operation.data(), each.name.data(), 0);
    EXPECT_TRUE(call.body.transfers.empty()) << each.operation << " " << each.name;
    EXPECT_EQ(call.body.startup.size(), 4u);
    EXPECT_TRUE(call.traffic.empty());
  }
  EXPECT_THROW(call.run("all-gather", "nccl-ring", 10, {2}), InternalError);
}

// The root first, every ring from it; no hop back to it.
TEST(Broadcast, RingsBecomeChainsFromTheRoot) {
  Call call(testing::rail_cluster(2, 2));
  call.run("broadcast", "nccl-ring", 4096, {}, 3);
  // 3, 2, then rail 0 to 0, then 1; and 3, then rail 1 to 1, then 0, then rail 0 to 2.
  EXPECT_THAT(call.traffic,
              UnorderedElementsAre(Pair("3-2", 2048), Pair("2-0", 2048), Pair("0-1", 2048),
                                   Pair("3-1", 2048), Pair("1-0", 2048), Pair("0-2", 2048)));
  const auto lines = call.fabric.lines_of(call.body);
  EXPECT_EQ(lines[0].substr(0, 30), "3 2 0 1: 2048 B after 2400 ns ");
  EXPECT_EQ(lines[1].substr(0, 30), "3 1 0 2: 2048 B after 4200 ns ");
}

TEST(Broadcast, BinomialTreeDoublesWhoHasIt) {
  Call call(testing::rail_cluster(2, 2));
  call.run("broadcast", "recursive", 4096, {}, 1);
  EXPECT_THAT(call.fabric.moves_of(call.body),
              ElementsAre("0: 1 > 2: 4096", "1: 1 > 3: 4096", "1: 2 > 0: 4096"));
}

// Two channels times two trees of 1024 B. In either tree the nodes are a parent and a child; chains
// 0-1 and 2-3 go both ways. Latency: up an NVLink and a NIC, and down again.
TEST(Tree, AllReduceByHand) {
  Call call(testing::rail_cluster(2, 2));
  call.run("all-reduce", "nccl-tree", 4096);
  ASSERT_EQ(call.body.transfers.size(), 4u);
  for (const CollectiveBody::Transfer& t : call.body.transfers) {
    EXPECT_EQ(t.bytes, Bytes(1024));
    EXPECT_EQ(t.latency, Duration(2 * (200'000 + 2'000'000)));
  }
  EXPECT_THAT(call.traffic,
              UnorderedElementsAre(Pair("0-1", 4096), Pair("1-0", 4096), Pair("2-3", 4096),
                                   Pair("3-2", 4096), Pair("0-2", 2048), Pair("2-0", 2048),
                                   Pair("1-3", 2048), Pair("3-1", 2048)));
}

// Seven nodes of one: tree 0 hangs odd nodes under 2 and 6 (6 under 4, 4 under 0, 2 under 4); in
// tree 1 every node has moved on by one. Nobody is a parent in both but the roots' neighbours share
// evenly: no node sends or receives more than 2 S.
TEST(Tree, NoNodeSendsOrReceivesMoreThanTwiceTheBytes) {
  for (const int nodes : {2, 3, 4, 5, 6, 7, 8, 13, 16, 24, 31, 32}) {
    Call call(testing::rail_cluster(nodes, 1));
    call.run("all-reduce", "nccl-tree", 1 << 20);
    const auto carried = call.fabric.carried(call.body);
    double sum = 0;
    for (int n = 0; n < nodes; ++n) {
      const double up = carried.at(fmt::format("n{}/gpu0/nic-up", n));
      EXPECT_LE(up, 2 << 20) << nodes << " nodes, node " << n;
      EXPECT_LE(carried.at(fmt::format("n{}/gpu0/nic-down", n)), 2 << 20);
      sum += up;
    }
    EXPECT_EQ(sum, 2.0 * (nodes - 1) * (1 << 20));  // every edge up and down, both trees half
  }
}

TEST(Recursive, HalvingThenDoublingByHand) {
  Call call(testing::rail_cluster(2, 2));
  call.run("all-reduce", "recursive", 4096);
  EXPECT_THAT(call.fabric.moves_of(call.body),
              ElementsAre("0: 0 > 2: 2048", "0: 1 > 3: 2048", "0: 2 > 0: 2048", "0: 3 > 1: 2048",
                          "1: 0 > 1: 1024", "1: 1 > 0: 1024", "1: 2 > 3: 1024", "1: 3 > 2: 1024",
                          "2: 0 > 1: 1024", "2: 1 > 0: 1024", "2: 2 > 3: 1024", "2: 3 > 2: 1024",
                          "3: 0 > 2: 2048", "3: 1 > 3: 2048", "3: 2 > 0: 2048", "3: 3 > 1: 2048"));
  call.run("all-gather", "recursive", 4096);
  EXPECT_EQ(call.fabric.moves_of(call.body).front(), "0: 0 > 1: 1024");
  call.run("reduce-scatter", "recursive", 4096);
  EXPECT_EQ(call.fabric.moves_of(call.body).front(), "0: 0 > 2: 2048");
}

TEST(Hierarchical, RingsInsideBetweenAndInside) {
  Call call(testing::rail_cluster(2, 2));
  call.run("all-reduce", "hierarchical", 4096);
  const auto stages_of = [&] {
    std::vector<std::string> all;
    const auto lines = call.fabric.lines_of(call.body);
    for (std::size_t i = 0; i < lines.size(); ++i) {
      all.push_back(fmt::format("{}: {}", call.body.transfers[i].stage,
                                lines[i].substr(0, lines[i].find(" B"))));
    }
    return all;
  };
  EXPECT_THAT(stages_of(), ElementsAre("0: 0 1: 2048", "0: 2 3: 2048",  //
                                       "1: 0 2: 2048", "1: 1 3: 2048",  //
                                       "2: 0 1: 2048", "2: 2 3: 2048"));
  call.run("all-gather", "hierarchical", 4096);
  EXPECT_THAT(stages_of(), ElementsAre("0: 0 2: 1024", "0: 1 3: 1024",  //
                                       "1: 0 1: 2048", "1: 2 3: 2048"));
  call.run("reduce-scatter", "hierarchical", 4096);
  EXPECT_THAT(stages_of(), ElementsAre("0: 0 1: 2048", "0: 2 3: 2048",  //
                                       "1: 0 2: 1024", "1: 1 3: 1024"));
}

// Four GPUs on one switch: 4096 B and a quarter more each way; all-gather a quarter out and all in.
TEST(InSwitch, PortsCarryWhatTheSwitchDoesNotSum) {
  Call call(testing::rail_cluster(1, 4));
  call.run("all-reduce", "nccl-nvls", 4096);
  const auto port = [&](const char* link) {
    return call.fabric.carried(call.body).at(std::string("n0/gpu1/nvlink-") + link);
  };
  EXPECT_EQ(port("up"), 5120);
  EXPECT_EQ(port("down"), 5120);
  call.run("all-gather", "nccl-nvls", 4096);
  EXPECT_EQ(port("up"), 1024);
  EXPECT_EQ(port("down"), 4096);
  call.run("reduce-scatter", "nccl-nvls", 4096);
  EXPECT_EQ(port("up"), 4096);
  EXPECT_EQ(port("down"), 1024);
}

// The constants' form: W/B with W = S (g+1)/g = 5120 B at half the NVLink rate.
TEST(InSwitch, ConstantsAreOfTheBytesOfAPort) {
  Cluster cluster = testing::rail_cluster(1, 4);
  CollectiveConstants constants;
  constants.algorithm = "nccl-nvls";
  constants.operation = "all-reduce";
  constants.nvlink_efficiency = 0.5;
  cluster.collectives = {constants};
  Call call(cluster);
  call.run("all-reduce", "nccl-nvls", 4096);
  EXPECT_DOUBLE_EQ(call.fabric.carried(call.body).at("n0/gpu1/nvlink-up"), 5120 / 0.5);
}

TEST(Grouped, SendReceiveGoesToTheNextRank) {
  Call call(testing::rail_cluster(2, 2));
  call.run("send-receive", "nccl", 100);
  EXPECT_THAT(call.fabric.moves_of(call.body),
              ElementsAre("0: 0 > 1: 100", "0: 1 > 2: 100", "0: 2 > 3: 100", "0: 3 > 0: 100"));
}

// Expert 0 of rank 0 goes to ranks 3 and 1, the own node first; rank 2's to 0. Sums go the other
// way.
TEST(Grouped, SparsePiecesGoDownChainsAndSumsUpThem) {
  Call call(testing::rail_cluster(2, 2));
  const std::vector<SparsePiece> pieces = {{0, {3, 1}, Bytes(100)}, {2, {0}, Bytes(40)}};
  call.run("sparse-all-gather", "nccl-grouped", 0, {}, 0, pieces);
  EXPECT_THAT(call.traffic,
              UnorderedElementsAre(Pair("0-1", 100), Pair("1-3", 100), Pair("2-0", 40)));
  call.run("sparse-reduce-scatter", "nccl-grouped", 0, {}, 0, pieces);
  EXPECT_THAT(call.traffic,
              UnorderedElementsAre(Pair("3-1", 100), Pair("1-0", 100), Pair("0-2", 40)));
}

// Hecate: the pair of sparse collectives moves what all-reduces of the same replicas would: per
// expert on |D| ranks 2 (|D| - 1) times its bytes.
TEST(Grouped, AGatherAndAScatterAreAnAllReduceOfTheReplicas) {
  Call call(testing::rail_cluster(2, 4));
  const std::vector<SparsePiece> pieces = {{0, {1, 2, 5}, Bytes(64)}, {6, {0, 7}, Bytes(64)}};
  std::int64_t moved = 0;
  for (const char* operation : {"sparse-all-gather", "sparse-reduce-scatter"}) {
    call.run(operation, "nccl-grouped", 0, {}, 0, pieces);
    for (const auto& [pair, bytes] : call.traffic) moved += bytes;
  }
  EXPECT_EQ(moved, 64 * (2 * 3 + 2 * 2));
}

TEST(Collectives, WhatCannotBeIsSaid) {
  Call call(testing::rail_cluster(2, 3));
  const auto message = [&](const char* operation, const char* algorithm, std::vector<int> gpus) {
    try {
      call.run(operation, algorithm, 4096, std::move(gpus));
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  EXPECT_EQ(message("all-reduce", "recursive", {}),
            "a recursive all-reduce needs a power of two of ranks, not 6; take nccl-ring or "
            "hierarchical");
  EXPECT_EQ(message("all-gather", "hierarchical", {0, 1, 3}),
            "a hierarchical all-gather needs as many ranks on every node, not 2 and 1; take full "
            "nodes, or nccl-ring");
  EXPECT_EQ(message("all-reduce", "nccl-nvls", {}),
            "nccl-nvls sums inside one NVLink domain, and these ranks are on several; take "
            "nccl-tree, nccl-ring or hierarchical");
  EXPECT_EQ(message("all-reduce", "nccl-rings", {}),
            "there is no algorithm 'nccl-rings' for all-reduce; did you mean 'nccl-ring'?");
  EXPECT_EQ(message("all-reduces", "nccl-ring", {}),
            "there is no collective 'all-reduces'; did you mean 'all-reduce'?");
}

struct Shape {
  int nodes;
  int gpus;
};

class CollectiveBytes : public ::testing::TestWithParam<Shape> {};

// With g = n m ranks, per GPU and direction. Ring: all W = S (g-1)/g of a rank stay on NVLink but
// for one hop in m, which is on the NIC. Two levels: S/m (n-1)/n on the NIC, S (m-1)/m on NVLink.
TEST_P(CollectiveBytes, PerPortAreThePublishedOnes) {
  const auto [n, m] = GetParam();
  const double g = n * m;
  const std::int64_t total = std::int64_t{n} * m * n * m * 64;
  const double s = static_cast<double>(total);
  Call call(testing::rail_cluster(n, m));
  struct Expected {
    const char* operation;
    const char* algorithm;
    double nic, nvlink;
  };
  std::vector<Expected> table;
  for (const auto& [operation, rounds] :
       {std::pair{"all-gather", 1.0}, {"reduce-scatter", 1.0}, {"all-reduce", 2.0}}) {
    const double w = rounds * s * (g - 1) / g;
    table.push_back({operation, "nccl-ring", n > 1 ? w / m : 0, n > 1 ? w * (m - 1) / m : w});
    table.push_back(
        {operation, "hierarchical", rounds * s / m * (n - 1) / n, rounds * s * (m - 1) / m});
  }
  for (const Expected& expected : table) {
    call.run(expected.operation, expected.algorithm, total);
    const auto carried = call.fabric.carried(call.body);
    for (int node = 0; node < n; ++node) {
      for (int gpu = 0; gpu < m; ++gpu) {
        for (const auto& [port, bytes] : {std::pair{"nic-up", expected.nic},
                                          {"nic-down", expected.nic},
                                          {"nvlink-up", expected.nvlink},
                                          {"nvlink-down", expected.nvlink}}) {
          const std::string link = fmt::format("n{}/gpu{}/{}", node, gpu, port);
          EXPECT_NEAR(carried.contains(link) ? carried.at(link) : 0.0, bytes, 2.0 * m)
              << expected.operation << " " << expected.algorithm << " " << link;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, CollectiveBytes,
                         ::testing::Values(Shape{1, 4}, Shape{2, 1}, Shape{2, 2}, Shape{2, 8},
                                           Shape{3, 4}, Shape{4, 2}, Shape{5, 3}));

}  // namespace
}  // namespace sim
