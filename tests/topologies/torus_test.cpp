// The torus: dimension-ordered routes by hand, and the load of a uniform all-to-all per link.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "sim/core/error.h"
#include "tests/topologies/reading.h"

namespace sim {
namespace {

using testing::cluster_of;
using ::testing::ElementsAre;
using testing::hops;
using testing::mistakes_of;

Cluster torus(int columns, int rows) {
  return cluster_of("{use: torus-2d, columns: " + std::to_string(columns) +
                    ", rows: " + std::to_string(rows) +
                    ", device: x, link: {bandwidth: 82 GB/s, latency: 1 us}}");
}

// Chip 7 of a 5 x 3 torus is at x2 y1. The cable of x0 leads to x1, that of x4 home to x0.
TEST(Torus, RoutesGoAlongXThenAlongYTheShorterWayRound) {
  const Cluster cluster = torus(5, 3);
  EXPECT_EQ(cluster.device_count(), 15);
  EXPECT_THAT(hops(cluster, 0, 7), ElementsAre("x0y0/out", "x0y0/x-link-up", "x1y0/x-link-up",
                                               "x2y0/turn", "x2y0/y-link-up", "x2y1/in"));
  EXPECT_THAT(hops(cluster, 7, 0), ElementsAre("x2y1/out", "x1y1/x-link-down", "x0y1/x-link-down",
                                               "x0y1/turn", "x0y0/y-link-down", "x0y0/in"));
  // x0 to x4 and y0 to y2 go over the cables that close the rings.
  EXPECT_THAT(hops(cluster, 0, 14), ElementsAre("x0y0/out", "x4y0/x-link-down", "x4y0/turn",
                                                "x4y2/y-link-down", "x4y2/in"));
  EXPECT_EQ(Routes(cluster).route(DeviceId(0), DeviceId(7)).latency, std::chrono::microseconds(3));
}

TEST(Torus, SmallRingsHaveNoSecondCable) {
  EXPECT_EQ(torus(2, 1).links.size(), 2U * 3 + 2);
  EXPECT_EQ(torus(3, 2).links.size(), 6U * 3 + 2 * (2 * 3 + 3));
}

// One byte for everyone on an odd k x k torus: a row's k (k^2 - 1)/4 ... every X link carries k
// times the hops of a ring of k, (k^2 - 1)/8 per link and direction. So the time for a fixed buffer
// grows with k.
TEST(Torus, AUniformAllToAllLoadsEveryLinkTheSame) {
  for (const int k : {3, 5, 7}) {
    const Cluster cluster = torus(k, k);
    Routes routes(cluster);
    std::map<std::string, int> load;
    for (int s = 0; s < k * k; ++s) {
      for (int d = 0; d < k * k; ++d) {
        if (s == d) continue;
        for (const LinkId link : routes.route(DeviceId(s), DeviceId(d)).links)
          ++load[cluster.links[link.index()].name];
      }
    }
    int links = 0;
    for (const auto& [name, pairs] : load) {
      if (name.find("-link-") == std::string::npos) continue;
      EXPECT_EQ(pairs, k * (k * k - 1) / 8) << name;
      ++links;
    }
    EXPECT_EQ(links, 4 * k * k);
  }
}

TEST(Torus, WrongShapesAreSaid) {
  EXPECT_EQ(mistakes_of("{use: torus-2d, columns: 4, rows: 2, chips_per_node: 3, device: x, link: "
                        "{bandwidth: 82 GB/s}}"),
            "test.yaml:1:54: 3 chips of a node do not fill a row of 4");
  EXPECT_EQ(mistakes_of("{use: torus-2d, columns: 1, rows: 1, device: x, link: {bandwidth: 82 "
                        "GB/s}}"),
            "test.yaml:1:26: a torus has at least two chips");
  EXPECT_EQ(mistakes_of("{use: torus-2d, columns: 4, nodes: 3, device: x, link: {bandwidth: 82 "
                        "GB/s}}"),
            "test.yaml:1:36: 3 chips do not fill rows of 4");
  const Cluster cluster = cluster_of(
      "{use: torus-2d, columns: 4, nodes: 6, chips_per_node: 2, device: x, link: {bandwidth: 82 "
      "GB/s}}");
  EXPECT_EQ(cluster.device_count(), 12);
  EXPECT_EQ(cluster.node_count(), 6);
}

}  // namespace
}  // namespace sim
