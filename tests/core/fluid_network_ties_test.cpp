// Token-granular exchanges: few distinct sizes, equal capacities and ranks that come one by one
// make thousands of levels that are equal up to rounding. A transfer that changes its bottleneck at
// such a tie once lost its bandwidth.
#include <gtest/gtest.h>

#include <map>
#include <numeric>

#include "sim/core/fluid_network.h"
#include "sim/core/random.h"

namespace sim {
namespace {

constexpr int kPerNode = 8;

// Uses of a transfer over NVLink inside a node, over NICs, leaves and a hashed spine between nodes.
std::vector<ResourceUse> path(int ranks, int a, int b) {
  const auto id = [](int i) { return ResourceId(i); };
  if (a / kPerNode == b / kPerNode) return {{id(4 * a), 1.46}, {id(4 * b + 1), 1.46}};
  const double nic = 1 / 0.924;
  const int leaf_up = 4 * ranks + 2 * (a % kPerNode);
  const int leaf_down = 4 * ranks + 2 * (b % kPerNode) + 1;
  if (a % kPerNode == b % kPerNode) return {{id(4 * a + 2), nic}, {id(4 * b + 3), nic}};
  return {{id(4 * a + 2), nic}, {id(leaf_up), nic}, {id(leaf_down), nic}, {id(4 * b + 3), nic}};
}

class Ties : public ::testing::TestWithParam<int> {};

TEST_P(Ties, EveryTransferEndsAndTheRatesStayFair) {
  const int ranks = 32;
  RandomStream random(static_cast<std::uint64_t>(GetParam()), "ties");
  EventLoop loop;
  std::vector<int> ended;
  FluidNetwork network(loop, [&](std::uint64_t tag) { ++ended[tag]; });
  for (int r = 0; r < ranks; ++r) {
    for (const double capacity : {450e9, 450e9, 50e9, 50e9})
      network.add_resource(Bandwidth(capacity));
  }
  // A leaf has fewer uplinks than its ports need, so the fabric fills up too.
  for (int leaf = 0; leaf < 2 * kPerNode; ++leaf) network.add_resource(Bandwidth(100e9));
  std::vector<std::int64_t> starts(ranks);
  for (std::int64_t& start : starts) start = static_cast<std::int64_t>(random.below(6'000'000));
  std::int64_t checks = 0;
  for (int a = 0; a < ranks; ++a) {
    loop.at(Time(Duration(starts[static_cast<std::size_t>(a)])), [&, a] {
      for (int b = 0; b < ranks; ++b) {
        const std::int64_t tokens = static_cast<std::int64_t>(2 * random.below(3));
        if (a == b || tokens == 0) continue;
        network.start(path(ranks, a, b), Bytes(tokens * 5760), ended.size());
        ended.push_back(0);
      }
    });
    loop.at(Time(Duration(starts[static_cast<std::size_t>(a)] + 1)), [&] {
      if (network.active() == 0) return;
      ++checks;
      EXPECT_EQ(network.violation(1e-9), "");
    });
  }
  for (std::int64_t t = 1; t <= 200; ++t) {
    loop.at(Time(Duration(t * 100'003)), [&] {
      if (network.active() > 0) {
        EXPECT_EQ(network.violation(1e-9), "");
      }
    });
  }
  loop.run();
  EXPECT_GT(checks, ranks / 2);
  EXPECT_EQ(network.active(), 0u);
  EXPECT_EQ(std::accumulate(ended.begin(), ended.end(), 0), static_cast<int>(ended.size()));
}

INSTANTIATE_TEST_SUITE_P(Seeds, Ties, ::testing::Range(0, 150));

}  // namespace
}  // namespace sim
