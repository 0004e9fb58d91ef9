// Ends of transfers over disturbed links, worked out by hand. NICs carry 10 GB/s: 10 MB take 1 ms.
#include "sim/policies/disturbances/link_disturbances.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/policies/disturbed_network.h"

namespace sim {
namespace {

using testing::at_us;
using testing::DisturbedNetwork;
using ::testing::DoubleNear;
using ::testing::ElementsAre;
using ::testing::Pointwise;
using testing::rail_cluster;

constexpr double kMb = 1e6;

// Every end is told at the next tick.
auto ends(const std::vector<double>& us) { return Pointwise(DoubleNear(3e-6), us); }

CapacitySchedule capacity(std::vector<CapacityStep> steps) { return {std::move(steps), {}}; }

TEST(LinkCapacity, AHalvedLinkHoldsATransferUpByExactlyThat) {
  DisturbedNetwork net(rail_cluster(2, 1));
  net.disturb("n0/gpu0/nic", capacity({{at_us(200), 0.5, {}}, {at_us(600), 1, {}}}));
  net.send(0, 0, 1, 10 * kMb);  // 2 MB, then 2 MB in 400 us, then 6 MB
  net.run();
  EXPECT_THAT(net.ended_us, ends({1200}));
}

TEST(LinkCapacity, ARateIsThatRateOnLinksOfAnyCapacity) {
  DisturbedNetwork net(rail_cluster(2, 1));
  net.disturb("n0/gpu0", capacity({{at_us(0), 1, Bandwidth(4e9)}}));  // NVLink and NIC
  net.send(0, 0, 1, 10 * kMb);
  net.run();
  EXPECT_THAT(net.ended_us, ends({2500}));
}

TEST(LinkCapacity, OfSeveralThatHoldAtOnceTheLowestCounts) {
  DisturbedNetwork net(rail_cluster(2, 1));
  net.disturb("n0/gpu0/nic", capacity({{at_us(0), 0.5, {}}, {at_us(1000), 1, {}}}));
  net.disturb("n0/gpu0/nic-up", capacity({{at_us(400), 0.2, {}}, {at_us(800), 0.8, {}}}));
  // 2 MB until 400 us, 0.8 MB until 800, 1 MB until 1000, then 6.2 MB at 8 GB/s.
  net.send(0, 0, 1, 10 * kMb);
  net.run();
  EXPECT_THAT(net.ended_us, ends({1775}));
}

TEST(LinkFailure, TransfersWaitAndGoOnWhenTheLinkComesBack) {
  DisturbedNetwork net(rail_cluster(2, 1));
  net.disturb("n0/gpu0/nic-up", capacity({{at_us(300), 0, {}}, {at_us(1000), 1, {}}}));
  net.send(0, 0, 1, 10 * kMb);    // 3 MB, nothing for 700 us, 7 MB beside the other one
  net.send(500, 0, 1, 2 * kMb);   // begins to move at 1000: 2 MB at 5 GB/s
  net.send(100, 1, 0, 10 * kMb);  // the other direction is whole
  net.run();
  EXPECT_THAT(net.ended_us, ends({1900, 1400, 1100}));
}

TEST(LinkFailure, OneThatStaysIsNamedAndTheLoopEnds) {
  DisturbedNetwork net(rail_cluster(2, 1));
  net.disturb("n0/gpu0/nic-up", capacity({{at_us(300), 0, {}}}));
  net.disturb("n1",
              BackgroundTraffic{at_us(0), {}, 1, {}, Duration(1'000'000), Duration(1'000'000)});
  net.send(0, 0, 1, 10 * kMb);
  net.run();
  EXPECT_THAT(net.ended_us, ends({-1}));
  EXPECT_EQ(net.network.active(), 1u);
  ASSERT_EQ(net.links.starving_links().size(), 1u);
  EXPECT_EQ(net.cluster.links[net.links.starving_links()[0].index()].name, "n0/gpu0/nic-up");
}

// GPU 0 and 1 are of node 0, 2 and 3 of node 1; 0 -> 3 leads over a spine.
TEST(LinkFailure, NewTransfersTakeTheOtherSpineOnceTheFailureIsNoticed) {
  testing::RailPorts ports;
  ports.spines = 2;
  ports.fabric = testing::port_of(10e9, Duration(0));
  DisturbedNetwork net(rail_cluster(2, 2, ports));
  const Route route = net.routes.route(DeviceId(0), DeviceId(3));
  const std::string uplink = net.cluster.links[route.links[1].index()].name;  // leaf0-spineX-up
  net.disturb(uplink,
              CapacitySchedule{{{at_us(100), 0, {}}, {at_us(2000), 1, {}}}, Duration(50'000'000)});
  net.send(0, 0, 3, 2 * kMb);    // 1 MB and waits for 1900 us
  net.send(120, 0, 3, 1 * kMb);  // not noticed yet: waits as well, behind the NIC it shares
  net.send(151, 0, 3, 1 * kMb);  // noticed at 150 us: the other spine
  net.send(2500, 0, 3, 1 * kMb);
  net.run();
  EXPECT_THAT(net.ended_us, ends({2200, 2200, 251, 2600}));
  std::vector<LinkId> after = net.routes.route(DeviceId(0), DeviceId(3)).links;
  EXPECT_EQ(after, route.links) << "the way over the link that came back";
}

TEST(LinkFailure, WithoutASecondWayTransfersWaitAlsoWithReroute) {
  DisturbedNetwork net(rail_cluster(2, 1));
  net.disturb("n0/gpu0/nic-up",
              CapacitySchedule{{{at_us(100), 0, {}}, {at_us(500), 1, {}}}, Duration(1'000'000)});
  net.send(200, 0, 1, 1 * kMb);
  net.run();
  EXPECT_THAT(net.ended_us, ends({600}));
}

TEST(Background, TakesItsMaxMinShare) {
  const auto end_with = [](BackgroundTraffic traffic) {
    DisturbedNetwork net(rail_cluster(2, 1));
    net.disturb("n0/gpu0/nic-up", traffic);
    net.send(0, 0, 1, 10 * kMb);
    net.run();
    return net.ended_us[0];
  };
  EXPECT_EQ(end_with({at_us(0), {}, 1, {}, {}, {}}), 2000);
  EXPECT_EQ(end_with({at_us(0), {}, 3, {}, {}, {}}), 4000);
  EXPECT_EQ(end_with({at_us(0), {}, 1, Bandwidth(2e9), {}, {}}), 1250);
  EXPECT_EQ(end_with({at_us(0), {}, 1, Bandwidth(8e9), {}, {}}), 2000) << "a cap above its share";
  EXPECT_EQ(end_with({at_us(500), at_us(700), 1, {}, {}, {}}), 1100);
  // 1.5 MB per 200 us: 9 MB at 1200, 9.5 at 1300, and 0.5 MB more at full rate.
  EXPECT_EQ(end_with({at_us(0), {}, 1, {}, Duration(100'000'000), Duration(100'000'000)}), 1350);
}

TEST(Background, WeighsAgainstEveryTransferAndNotAgainstAllOfThem) {
  DisturbedNetwork net(rail_cluster(2, 1));
  net.disturb("n0/gpu0/nic-up", BackgroundTraffic{at_us(0), {}, 2, {}, {}, {}});
  net.send(0, 0, 1, 5 * kMb);  // of 10 GB/s: 2.5 each, 5 for the load
  net.send(0, 0, 1, 5 * kMb);
  net.run();
  EXPECT_THAT(net.ended_us, ends({2000, 2000}));
}

TEST(Jitter, HoldsATransferUpOnceHoweverManyOfItsLinksMatch) {
  DisturbedNetwork net(rail_cluster(2, 1));
  const DelayModel exactly{DelayDistribution::kUniform, 7e-6, 7e-6};
  net.disturb("n", LatencyJitter{at_us(0), at_us(1000), exactly});
  net.disturb("n0/gpu0/nic", LatencyJitter{at_us(0), {}, exactly});
  net.send(0, 0, 1, 1 * kMb);     // both
  net.send(2000, 0, 1, 1 * kMb);  // the first is over
  net.send(2000, 1, 0, 1 * kMb);
  net.run();
  EXPECT_THAT(net.ended_us, ends({114, 2107, 2107}));
}

struct Moments {
  double mean = 0;
  double median = 0;
};

Moments moments_us(const DelayModel& model, std::uint64_t seed) {
  RandomStream random(seed, "jitter");
  std::vector<double> draws;
  double sum = 0;
  for (int i = 0; i < 40'001; ++i) {
    draws.push_back(to_seconds(model.draw(random)) * 1e6);
    sum += draws.back();
  }
  std::nth_element(draws.begin(), draws.begin() + 20'000, draws.end());
  return {sum / static_cast<double>(draws.size()), draws[20'000]};
}

// Mean and median of 40,001 draws against the formulas; 2 % are more than four standard errors.
TEST(Jitter, DrawsHaveTheMeanAndTheMedianOfTheirDistribution) {
  using D = DelayDistribution;
  const struct {
    DelayModel model;
    double mean, median;
  } cases[] = {
      {{D::kNormal, 10e-6, 2e-6}, 10, 10},
      {{D::kLognormal, 10e-6, 0.5}, 10 * std::exp(0.125), 10},
      {{D::kExponential, 10e-6, 0}, 10, 10 * std::log(2.0)},
      {{D::kPareto, 10e-6, 5}, 12.5, 10 * std::pow(2.0, 0.2)},
      {{D::kUniform, 4e-6, 16e-6}, 10, 10},
  };
  for (const auto& each : cases) {
    const Moments found = moments_us(each.model, 3);
    EXPECT_NEAR(found.mean, each.mean, 0.02 * each.mean) << each.model.text();
    EXPECT_NEAR(found.median, each.median, 0.02 * each.median) << each.model.text();
    EXPECT_EQ(found.mean, moments_us(each.model, 3).mean);
    EXPECT_NE(found.mean, moments_us(each.model, 4).mean);
  }
}

TEST(Jitter, IsNeverNegativeNorLongerThanASecond) {
  RandomStream random(1, "tails");
  const DelayModel wide{DelayDistribution::kNormal, 1e-6, 1e-3};
  const DelayModel heavy{DelayDistribution::kPareto, 1e-3, 0.1};
  int zero = 0, longest = 0;
  for (int i = 0; i < 1000; ++i) {
    if (wide.draw(random) == Duration(0)) ++zero;
    if (heavy.draw(random) == duration_from_seconds(1)) ++longest;
  }
  EXPECT_NEAR(zero, 500, 80);     // half of a normal that is wide around nothing
  EXPECT_NEAR(longest, 501, 80);  // P(X > 1 s) = (1 ms / 1 s)^0.1 = 0.501
}

TEST(MeanShare, IsOverTheTimeSinceTheMark) {
  DisturbedNetwork net(rail_cluster(2, 1));
  net.disturb("n0/gpu0/nic-up",
              capacity({{at_us(200), 0.5, {}}, {at_us(600), 0, {}}, {at_us(700), 1, {}}}));
  const LinkId up = net.routes.route(DeviceId(0), DeviceId(1)).links[0];
  const LinkId down = net.routes.route(DeviceId(1), DeviceId(0)).links[1];
  std::vector<double> shares;
  net.loop.at(at_us(400), [&] {
    shares.push_back(net.disturbances->mean_share(up));  // 200 whole, 200 at half
    net.disturbances->mark();
  });
  net.loop.at(at_us(1000), [&] { shares.push_back(net.disturbances->mean_share(up)); });
  net.loop.at(at_us(1000), [&] { shares.push_back(net.disturbances->mean_share(down)); });
  net.run();
  EXPECT_THAT(shares, ElementsAre(0.75, ::testing::DoubleEq((100 + 300) / 600.0), 1));
}

TEST(Stop, EndsWhatWouldGoOn) {
  DisturbedNetwork net(rail_cluster(2, 1));
  net.disturb("n0/gpu0/nic-up", capacity({{at_us(5000), 0.5, {}}}));
  net.send(0, 0, 1, 10 * kMb);
  net.loop.at(at_us(1000), [&] { net.disturbances->stop(); });
  net.run();
  EXPECT_EQ(net.now_us(), 1000);
}

}  // namespace
}  // namespace sim
