// Flows that share an uplink by hash, and the same flows when nothing collides.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "tests/policies/disturbed_network.h"
#include "topologies/cluster_reader.h"

namespace sim {
namespace {

// Two nodes under a leaf each and two spines, 10 GB/s everywhere; GPU 0 and 1 send to 2 and 3.
std::vector<double> ends_us(const std::string& keys) {
  const auto document = YamlDocument::parse(
      "{use: hgx, nodes: 4, gpus_per_node: 1, nodes_per_leaf: 2, device: x, "
      "nvlink: {bandwidth: 100 GB/s}, nic: {bandwidth: 10 GB/s}" +
          keys + "}",
      "test");
  Mistakes mistakes;
  Cluster cluster = read_cluster(document->root(), CatalogLookup{}, mistakes);
  mistakes.throw_if_any();
  testing::DisturbedNetwork net(std::move(cluster));
  net.send(0, 0, 2, 10e6);
  net.send(0, 1, 3, 10e6);
  net.run();
  return net.ended_us;
}

TEST(Ecmp, FlowsOnOneUplinkHalveAndTheSeedDrawsWhichOnes) {
  std::set<std::vector<double>> seen;
  int collisions = 0;
  for (int seed = 0; seed < 64; ++seed) {
    const std::vector<double> ends = ends_us(", hash_seed: " + std::to_string(seed));
    seen.insert(ends);
    if (ends[0] == 2000) ++collisions;
    EXPECT_EQ(ends, ends_us(", hash_seed: " + std::to_string(seed)));
  }
  EXPECT_THAT(seen, ::testing::ElementsAre(std::vector<double>{1000, 1000},
                                           std::vector<double>{2000, 2000}));
  EXPECT_NEAR(collisions, 32, 12);  // two spines: every other seed, +- 3 standard deviations
}

TEST(Ecmp, IdealSprayingNeverCollides) {
  EXPECT_THAT(ends_us(", spraying: ideal"), ::testing::ElementsAre(1000, 1000));
}

// Of four spines at 5 GB/s together as fast as the NICs: two paths a flow may collide in part.
TEST(Ecmp, MorePathsPerFlowCollideLessOftenThanOne) {
  double one = 0, four = 0;
  for (int seed = 0; seed < 32; ++seed) {
    const std::string text = ", hash_seed: " + std::to_string(seed);
    one += ends_us(text)[0];
    four += ends_us(text + ", paths_per_flow: 16")[0];
  }
  EXPECT_LT(four, one);
}

TEST(Ecmp, ASeedWithIdealSprayingIsRefused) {
  try {
    ends_us(", spraying: ideal, hash_seed: 3");
    FAIL() << "no mistake";
  } catch (const Error& error) {
    EXPECT_STREQ(
        error.what(),
        "test:1:156: 'hash_seed' has no effect with 'spraying: ideal'; leave one of them out");
  }
}

}  // namespace
}  // namespace sim
