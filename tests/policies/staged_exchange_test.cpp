// The dispatch algorithms that go in stages: two nodes of two GPUs by hand, the published bytes per
// port over many sizes, and what holds for any counts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "sim/core/error.h"
#include "sim/policies/collectives/exchange.h"
#include "tests/policies/transfers.h"

namespace sim {
namespace {

using ::testing::ElementsAre;
using ::testing::UnorderedElementsAre;

const std::vector<std::string_view> kPerRow = {"nccl",     "deepep-low-latency",
                                               "2dh",      "hierarchical",
                                               "pipe-a2a", "deepep-low-latency-no-nvlink"};

// Ranks on the first GPUs of a cluster, or on the given ones, with rows[source * ranks + rank].
struct Group {
  testing::Fabric fabric;
  std::vector<DeviceId> devices;
  std::vector<int> node_of_rank;
  CopyCounts copies;
  std::map<std::string, std::int64_t> traffic;
  int tensor_parallel = 1;

  Group(Cluster cluster, std::vector<int> gpus, std::vector<std::int64_t> rows)
      : fabric(std::move(cluster)) {
    std::map<int, int> numbers;
    for (const int gpu : gpus) {
      devices.emplace_back(gpu);
      const int node = fabric.network.node_of(devices.back()).value();
      node_of_rank.push_back(numbers.emplace(node, static_cast<int>(numbers.size())).first->second);
    }
    const std::size_t ranks = gpus.size();
    const std::size_t nodes = numbers.size();
    copies.ranks = static_cast<int>(ranks);
    copies.nodes = static_cast<int>(nodes);
    copies.rows = copies.rank_copies = std::move(rows);
    copies.node_copies.assign(ranks * nodes, 0);
    copies.tokens.assign(ranks, 0);
    for (std::size_t s = 0; s < ranks; ++s) {
      for (std::size_t d = 0; d < ranks; ++d) {
        copies.node_copies[s * nodes + static_cast<std::size_t>(node_of_rank[d])] +=
            copies.rows[s * ranks + d];
        copies.tokens[s] += copies.rows[s * ranks + d];
      }
    }
  }
  CollectiveBody run(std::string_view algorithm, Direction direction = Direction::kDispatch,
                     const StartupCost& cost = {}, std::int64_t bytes = 1) {
    Exchange exchange;
    exchange.direction = direction;
    exchange.copies = &copies;
    exchange.ranks = devices;
    exchange.node_of_rank = node_of_rank;
    exchange.bytes_per_copy = Bytes(bytes);
    exchange.experts = static_cast<int>(devices.size());
    exchange.device_sms = 4;
    exchange.tensor_parallel = tensor_parallel;
    CollectiveBody body;
    traffic.clear();
    const TrafficSink sink = [&](DeviceId from, DeviceId to, Bytes sent) {
      traffic[fmt::format("{}-{}", from.value(), to.value())] += sent.count();
    };
    find_exchange_algorithm(algorithm).make(exchange, cost, fabric.network, sink, body);
    return body;
  }
};

std::vector<int> first_gpus(int count) {
  std::vector<int> gpus(static_cast<std::size_t>(count));
  std::iota(gpus.begin(), gpus.end(), 0);
  return gpus;
}

// Ranks 0 and 1 are node 0. Everything below follows from these rows by hand.
Group two_by_two() {
  return Group(testing::rail_cluster(2, 2), first_gpus(4),
               {2, 1, 4, 1,  //
                0, 0, 2, 0,  //
                1, 0, 0, 1,  //
                0, 0, 0, 2});
}

// Copy all; to the own node's rank with the receiver's place (rank 0 has 2 + 4 rows for places 0,
// and gets 2 of rank 1); copy all; between equal places.
TEST(TwoDimensional, ByHand) {
  Group group = two_by_two();
  EXPECT_THAT(group.fabric.moves_of(group.run("2dh")),
              UnorderedElementsAre("0: 0: 8", "0: 1: 2", "0: 2: 2", "0: 3: 2",          //
                                   "1: 0: 6", "1: 0 > 1: 2", "1: 1 > 0: 2",             //
                                   "1: 2: 1", "1: 2 > 3: 1", "1: 3: 2",                 //
                                   "2: 0: 8", "2: 1: 2", "2: 2: 1", "2: 3: 3",          //
                                   "3: 0: 2", "3: 0 > 2: 6", "3: 1: 1", "3: 1 > 3: 1",  //
                                   "3: 2 > 0: 1", "3: 3: 3"));
  EXPECT_EQ(group.traffic.at("0-2"), 6);
  EXPECT_EQ(group.traffic.at("0-0"), 8);  // 6 in the exchange inside, 2 in the other: no copies
}

// The pair of nodes has ranks 1 and 3 as leaders: 4 + 1 + 2 rows leave node 0 in one message.
TEST(Hierarchical, ByHand) {
  Group group = two_by_two();
  EXPECT_THAT(group.fabric.moves_of(group.run("hierarchical")),
              UnorderedElementsAre("0: 0: 2", "0: 0 > 1: 6", "0: 1: 2", "0: 2 > 3: 2", "0: 3: 2",
                                   "1: 1: 7", "1: 3: 1",          //
                                   "2: 1 > 3: 7", "2: 3 > 1: 1",  //
                                   "3: 3: 7", "3: 1: 1",          //
                                   "4: 3 > 2: 6", "4: 3: 1", "4: 1 > 0: 1"));
}

// Tensor-parallel groups are the nodes: place 0 to place 0, then everything inside the group.
TEST(HierarchicalTp, ByHand) {
  Group group = two_by_two();
  group.tensor_parallel = 2;
  EXPECT_THAT(group.fabric.moves_of(group.run("hierarchical-tp")),
              UnorderedElementsAre("0: 0: 3", "0: 0 > 2: 5", "0: 1 > 3: 2", "0: 2 > 0: 1",
                                   "0: 2: 1", "0: 3: 2",  //
                                   "1: 0 > 1: 4", "1: 2 > 3: 6", "1: 3 > 2: 4"));
  group.tensor_parallel = 1;  // nothing to coordinate: every rank to every rank
  EXPECT_THAT(group.fabric.moves_of(group.run("hierarchical-tp")),
              UnorderedElementsAre("0: 0: 2", "0: 0 > 1: 1", "0: 0 > 2: 4", "0: 0 > 3: 1",
                                   "0: 1 > 2: 2", "0: 2 > 0: 1", "0: 2 > 3: 1", "0: 3: 2"));
}

// Stages 0 and 1 are the rounds inside the node, 2 and 3 those outside, side by side.
TEST(PipeA2a, ByHand) {
  Group group = two_by_two();
  const CollectiveBody body = group.run("pipe-a2a");
  EXPECT_THAT(group.fabric.moves_of(body),
              UnorderedElementsAre("0: 0: 2", "0: 3: 2", "1: 0 > 1: 1", "1: 2 > 3: 1",  //
                                   "2: 0 > 2: 4", "2: 2 > 0: 1", "3: 0 > 3: 1", "3: 1 > 2: 2"));
  std::vector<int> before;
  for (const CollectiveBody::Stage& stage : body.stages) before.push_back(stage.after[0]);
  EXPECT_THAT(before, ElementsAre(-1, 0, -1, 2));
}

TEST(NoNvlink, RowsOfTheOwnNodeGoThroughTheNicsAndTheSpine) {
  Group group = two_by_two();
  const auto lines = group.fabric.lines_of(group.run("deepep-low-latency-no-nvlink"));
  ASSERT_EQ(lines.size(), 8u);
  EXPECT_EQ(lines[1],
            "0 > 1: 1 B after 3000 ns over n0/gpu0/nic-up x1, n0/gpu1/nic-down x1, "
            "leaf0-spine0-up x1, leaf1-spine0-down x1");
  EXPECT_EQ(lines[0], "0: 2 B after 0 ns over memory0 x2");
  const auto carried = group.fabric.carried(group.run("deepep-low-latency-no-nvlink"));
  for (const auto& [link, bytes] : carried) EXPECT_EQ(link.find("nvlink"), std::string::npos);
}

// Every exchange stage is a call of its own: base + 1 message (two ranks inside, two nodes).
TEST(StagedStart, EveryExchangeHasItsStartAndCopiesHaveNone) {
  Group group = two_by_two();
  StartupCost cost;
  cost.base = Duration(10'000'000);
  cost.multi_node = Duration(1'000'000);
  cost.per_message = Duration(500'000);
  cost.notify = Duration(3'000'000);
  const auto delays = [&](std::string_view algorithm, Direction direction) {
    std::vector<std::int64_t> us10;
    for (const auto& stage : group.run(algorithm, direction, cost).stages)
      us10.push_back(stage.delay.count() / 100'000);
    return us10;
  };
  EXPECT_THAT(delays("2dh", Direction::kDispatch), ElementsAre(0, 105, 0, 115));
  EXPECT_THAT(delays("2dh", Direction::kCombine), ElementsAre(115, 0, 105, 0));
  EXPECT_THAT(delays("hierarchical", Direction::kDispatch), ElementsAre(105, 0, 115, 0, 105));
  EXPECT_THAT(delays("pipe-a2a", Direction::kDispatch), ElementsAre(105, 5, 115, 5));
  EXPECT_THAT(delays("pipe-a2a", Direction::kCombine), ElementsAre(105, 5, 115, 5));
  group.tensor_parallel = 2;
  EXPECT_THAT(delays("hierarchical-tp", Direction::kDispatch), ElementsAre(115, 105));
  EXPECT_EQ(group.run("2dh", Direction::kDispatch, cost).startup[0], Duration(3'000'000));
  EXPECT_EQ(group.run("2dh", Direction::kCombine, cost).startup[0], Duration(0));
}

// A group on GPUs 1 and 2 of node 0 and 1, 2 of node 1 has its rails 1 and 2, though its ranks are
// the first and second of their node. Rank 0 sits on rail 1: its copies land on rank 2, on rail 1.
TEST(DeepEpNormal, RelaysAreOnTheSameRailWhereverTheGroupBegins) {
  Group group(testing::rail_cluster(2, 4), {1, 2, 5, 6},
              {0, 0, 0, 3,  //
               0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0});
  EXPECT_THAT(group.fabric.lines_of(group.run("deepep-normal")),
              ElementsAre("0 > 3: 3 B after 2200 ns over n1/gpu1/nvlink-up x1, "
                          "n1/gpu2/nvlink-down x1, n0/gpu1/nic-up x1, n1/gpu1/nic-down x1"));
  // GPUs 2 and 3 of node 0, then 0..3 of node 1: rank 1 (rail 3) finds rank 5 on its rail.
  Group uneven(testing::rail_cluster(2, 4), {2, 3, 4, 5, 6, 7}, std::vector<std::int64_t>(36, 0));
  uneven.copies.rank_copies[1 * 6 + 2] = uneven.copies.node_copies[1 * 2 + 1] = 1;
  uneven.run("deepep-normal");
  EXPECT_EQ(uneven.traffic.at("3-7"), 1);
  EXPECT_EQ(uneven.traffic.at("7-4"), 1);
  // Nobody in node 0 is on rail 0 or 1 of node 1's sources: they take turns.
  uneven.copies.rank_copies.assign(36, 0);
  uneven.copies.node_copies.assign(12, 0);
  uneven.copies.rank_copies[2 * 6 + 0] = uneven.copies.node_copies[2 * 2 + 0] = 1;
  uneven.copies.rank_copies[3 * 6 + 0] = uneven.copies.node_copies[3 * 2 + 0] = 1;
  uneven.run("deepep-normal");
  EXPECT_EQ(uneven.traffic.at("4-2"), 1);
  EXPECT_EQ(uneven.traffic.at("5-3"), 1);
}

struct Shape {
  int nodes;
  int gpus;
};

class BytesPerPort : public ::testing::TestWithParam<Shape> {
 protected:
  // Every rank has c rows for every rank.
  Group uniform(std::int64_t c) {
    const auto [nodes, gpus] = GetParam();
    const int ranks = nodes * gpus;
    return Group(testing::rail_cluster(nodes, gpus), first_gpus(ranks),
                 std::vector<std::int64_t>(static_cast<std::size_t>(ranks * ranks), c));
  }
};

// With n nodes of m GPUs and c rows for everyone, per GPU and direction: the NIC carries m (n-1) c
// in every algorithm; NVLink (m-1) c straight, n (m-1) c in 2DH, m (m-1) n c gathered over TP
// groups.
TEST_P(BytesPerPort, AreThePublishedOnes) {
  constexpr std::int64_t c = 3;
  const auto [n, m] = GetParam();
  Group group = uniform(c);
  group.tensor_parallel = m;
  struct Expected {
    std::string_view algorithm;
    std::int64_t nic, nvlink;
  };
  const std::vector<Expected> table = {
      {"nccl", m * (n - 1) * c, (m - 1) * c},
      {"pipe-a2a", m * (n - 1) * c, (m - 1) * c},
      {"2dh", m * (n - 1) * c, n * (m - 1) * c},
      {"hierarchical-tp", m * (n - 1) * c, std::int64_t{m} * (m - 1) * n * c},
  };
  for (const Expected& expected : table) {
    for (const Direction direction : {Direction::kDispatch, Direction::kCombine}) {
      const auto carried = group.fabric.carried(group.run(expected.algorithm, direction));
      const auto on = [&](const std::string& link) {
        return carried.contains(link) ? carried.at(link) : 0.0;
      };
      for (int node = 0; node < n; ++node) {
        for (int g = 0; g < m; ++g) {
          const std::string gpu = fmt::format("n{}/gpu{}/", node, g);
          EXPECT_EQ(on(gpu + "nic-up"), static_cast<double>(expected.nic)) << expected.algorithm;
          EXPECT_EQ(on(gpu + "nic-down"), static_cast<double>(expected.nic));
          EXPECT_EQ(on(gpu + "nvlink-up"), static_cast<double>(expected.nvlink))
              << expected.algorithm;
          EXPECT_EQ(on(gpu + "nvlink-down"), static_cast<double>(expected.nvlink));
        }
      }
    }
  }
}

// One message of m m c per ordered pair of nodes, and nothing else between nodes.
TEST_P(BytesPerPort, HierarchicalHasOneMessagePerPairOfNodes) {
  constexpr std::int64_t c = 3;
  const auto [n, m] = GetParam();
  Group group = uniform(c);
  const CollectiveBody body = group.run("hierarchical");
  std::vector<std::int64_t> messages;
  for (const CollectiveBody::Transfer& t : body.transfers) {
    if (t.senders_end == t.parties_end) continue;
    const std::int32_t from = body.parties[t.parties_begin];
    const std::int32_t to = body.parties[t.senders_end];
    if (from / m != to / m) messages.push_back(t.bytes.count());
  }
  EXPECT_EQ(messages, std::vector<std::int64_t>(static_cast<std::size_t>(n * (n - 1)), m * m * c));
}

INSTANTIATE_TEST_SUITE_P(Shapes, BytesPerPort,
                         ::testing::Values(Shape{1, 2}, Shape{2, 1}, Shape{2, 2}, Shape{3, 4},
                                           Shape{4, 2}, Shape{5, 3}, Shape{2, 8}));

// What holds for any counts on any set of GPUs.
class AnyCounts : public ::testing::TestWithParam<int> {
 protected:
  Group random_group() {
    std::mt19937 random(static_cast<unsigned>(GetParam()));
    const int nodes = 1 + static_cast<int>(random() % 4);
    const int per_node = 1 + static_cast<int>(random() % 4);
    std::vector<int> gpus;
    for (int g = 0; g < nodes * per_node; ++g) {
      if (random() % 4 > 0) gpus.push_back(g);  // nodes without or with a few of the ranks
    }
    if (gpus.empty()) gpus.push_back(0);
    std::vector<std::int64_t> rows(gpus.size() * gpus.size());
    for (std::int64_t& each : rows) each = static_cast<std::int64_t>(random() % 3);
    return Group(testing::rail_cluster(nodes, per_node), gpus, rows);
  }
};

// What a rank had, plus what came, less what it passed on, is what is meant for it.
TEST_P(AnyCounts, EveryRowArrivesOnce) {
  Group group = random_group();
  const std::size_t ranks = group.devices.size();
  for (const std::string_view algorithm : kPerRow) {
    group.run(algorithm);
    for (std::size_t r = 0; r < ranks; ++r) {
      std::int64_t balance = 0;
      std::int64_t meant = 0;
      for (std::size_t o = 0; o < ranks; ++o) {
        balance += group.copies.rows[r * ranks + o];
        meant += group.copies.rows[o * ranks + r];
      }
      const std::string own = std::to_string(group.devices[r].value());
      for (const auto& [pair, count] : group.traffic) {
        if (pair.starts_with(own + "-")) balance -= count;
        if (pair.ends_with("-" + own)) balance += count;
      }
      EXPECT_EQ(balance, meant) << algorithm << " rank " << r;
    }
  }
}

TEST_P(AnyCounts, CombineIsDispatchTurnedAround) {
  Group group = random_group();
  group.tensor_parallel = 2;
  for (const ExchangeAlgorithm& algorithm : kExchangeAlgorithms) {
    const CollectiveBody forth = group.run(algorithm.name, Direction::kDispatch);
    const auto forth_traffic = group.traffic;
    const CollectiveBody back = group.run(algorithm.name, Direction::kCombine);
    ASSERT_EQ(forth.transfers.size(), back.transfers.size()) << algorithm.name;
    ASSERT_EQ(forth.stages.size(), back.stages.size());
    for (std::size_t t = 0; t < forth.transfers.size(); ++t) {
      EXPECT_EQ(forth.transfers[t].bytes, back.transfers[t].bytes);
    }
    for (const auto& [pair, count] : forth_traffic) {
      const std::size_t dash = pair.find('-');
      EXPECT_EQ(group.traffic[pair.substr(dash + 1) + "-" + pair.substr(0, dash)], count)
          << algorithm.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Seeds, AnyCounts, ::testing::Range(0, 40));

TEST(ExchangeCosts, StagesBorrowTheConstantsOfWhatTheyAreBuiltOf) {
  Cluster cluster = testing::rail_cluster(2, 2);
  AlgorithmConstants nccl;
  nccl.algorithm = "nccl";
  nccl.dispatch.base = Duration(7'000'000);
  nccl.dispatch.label = "fitted";
  nccl.dispatch.source = "a table";
  cluster.communication = {nccl};
  const StartupCost borrowed = exchange_costs(cluster, find_exchange_algorithm("2dh"), 2).dispatch;
  EXPECT_EQ(borrowed.base, Duration(7'000'000));
  EXPECT_EQ(borrowed.label, "assumed");
  EXPECT_EQ(borrowed.source, "those of nccl (fitted): a table");
  EXPECT_EQ(exchange_costs(cluster, find_exchange_algorithm("nccl"), 2).dispatch.label, "fitted");
  EXPECT_EQ(exchange_costs(cluster, find_exchange_algorithm("deepep-normal"), 2).dispatch.source,
            assumed_startup().source);
}

}  // namespace
}  // namespace sim
