#include "sim/core/fluid_network.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "sim/core/random.h"

namespace sim {
namespace {

struct Transfer {
  std::vector<ResourceUse> uses;
  double bytes = 0;
  double start_s = 0;
  double weight = 1;
  double cap = std::numeric_limits<double>::infinity();
};

struct CapacityChange {
  double time_s = 0;
  std::size_t resource = 0;
  double capacity = 0;
};

// Every event from scratch with the obvious solver: the slow truth. `changes` in time order.
std::vector<double> oracle(std::vector<double> capacities, const std::vector<Transfer>& transfers,
                           const std::vector<CapacityChange>& changes) {
  std::vector<double> left(transfers.size());
  std::vector<double> end(transfers.size(), -1);
  std::vector<std::size_t> order(transfers.size());
  for (std::size_t i = 0; i < transfers.size(); ++i) {
    left[i] = transfers[i].bytes;
    order[i] = i;
  }
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return transfers[a].start_s < transfers[b].start_s;
  });
  std::vector<std::size_t> active;
  std::size_t next = 0, next_change = 0;
  double now = 0;
  while (next < order.size() || !active.empty()) {
    std::vector<Demand> demands;
    for (const std::size_t i : active)
      demands.push_back({transfers[i].uses, transfers[i].weight, transfers[i].cap});
    const std::vector<double> rates = max_min_fair(capacities, demands);
    double until = next < order.size() ? transfers[order[next]].start_s : 1e300;
    if (next_change < changes.size()) until = std::min(until, changes[next_change].time_s);
    for (std::size_t k = 0; k < active.size(); ++k)
      until = std::min(until, now + left[active[k]] / rates[k]);
    std::vector<std::size_t> still;
    for (std::size_t k = 0; k < active.size(); ++k) {
      const double finish = now + left[active[k]] / rates[k];
      left[active[k]] -= rates[k] * (until - now);
      if (finish <= until * (1 + 1e-15)) {
        end[active[k]] = until;
      } else {
        still.push_back(active[k]);
      }
    }
    active = still;
    now = until;
    while (next < order.size() && transfers[order[next]].start_s <= now)
      active.push_back(order[next++]);
    for (; next_change < changes.size() && changes[next_change].time_s <= now; ++next_change)
      capacities[changes[next_change].resource] = changes[next_change].capacity;
  }
  return end;
}

std::vector<double> simulate(const std::vector<double>& capacities,
                             const std::vector<Transfer>& transfers, bool certify,
                             const std::vector<CapacityChange>& changes = {}) {
  EventLoop loop;
  std::vector<double> end(transfers.size(), -1);
  FluidNetwork network(loop, [&](std::uint64_t tag) { end[tag] = to_seconds(loop.now()); });
  for (const double c : capacities) network.add_resource(Bandwidth(c));
  // A little later than each change, when it has been solved.
  const auto certify_after = [&](double time_s) {
    if (!certify) return;
    loop.at(Time(duration_from_seconds(time_s) + Duration(7)), [&network] {
      if (network.active() > 0) {
        EXPECT_EQ(network.violation(1e-9), "");
      }
    });
  };
  for (std::size_t i = 0; i < transfers.size(); ++i) {
    const Transfer& t = transfers[i];
    loop.at(Time(duration_from_seconds(t.start_s)), [&network, &t, i] {
      network.start(t.uses, Bytes(static_cast<std::int64_t>(t.bytes)), i, {t.weight, t.cap});
    });
    certify_after(t.start_s);
  }
  for (const CapacityChange& change : changes) {
    loop.at(Time(duration_from_seconds(change.time_s)), [&network, &change] {
      network.set_capacity(ResourceId(static_cast<std::int64_t>(change.resource)),
                           Bandwidth(change.capacity));
    });
    certify_after(change.time_s);
  }
  loop.run();
  EXPECT_EQ(network.active(), 0u);
  return end;
}

void expect_agreement(const std::vector<double>& capacities, const std::vector<Transfer>& transfers,
                      const std::vector<CapacityChange>& changes = {}) {
  const std::vector<double> truth = oracle(capacities, transfers, changes);
  const std::vector<double> ours = simulate(capacities, transfers, true, changes);
  for (std::size_t i = 0; i < transfers.size(); ++i) {
    EXPECT_NEAR(ours[i], truth[i], 1e-9 * truth[i] + 2e-12) << "transfer " << i;
  }
}

TEST(FluidNetwork, TwoTransfersShareALinkAndTheSecondSpeedsUp) {
  // 10 B/s: both run at 5 B/s; after 2 s the 10-byte one ends, the other has 10 left at 10 B/s:
  // ends at 3 s.
  const std::vector<Transfer> transfers = {{{{ResourceId(0), 1}}, 10, 0},
                                           {{{ResourceId(0), 1}}, 20, 0}};
  const std::vector<double> end = simulate({10}, transfers, true);
  EXPECT_DOUBLE_EQ(end[0], 2);
  EXPECT_DOUBLE_EQ(end[1], 3);
}

TEST(FluidNetwork, ABottleneckElsewhereLeavesTheRestToTheOthers) {
  // Link 0: 10 B/s, link 1: 2 B/s. a uses both (2 B/s), b only link 0 (8 B/s).
  const std::vector<Transfer> transfers = {{{{ResourceId(0), 1}, {ResourceId(1), 1}}, 4, 0},
                                           {{{ResourceId(0), 1}}, 26, 0}};
  const std::vector<double> end = simulate({10, 2}, transfers, true);
  EXPECT_DOUBLE_EQ(end[0], 2);
  EXPECT_DOUBLE_EQ(end[1], 3);  // 16 bytes by t=2, then 10 B/s
}

TEST(FluidNetwork, WeightsCapsAndMultipliers) {
  // 12 B/s shared 1:3 -> 3 and 9.
  EXPECT_DOUBLE_EQ(
      simulate({12}, {{{{ResourceId(0), 1}}, 6, 0, 1}, {{{ResourceId(0), 1}}, 18, 0, 3}}, true)[0],
      2);
  // A cap of 2 leaves 10 to the other.
  const auto capped =
      simulate({12}, {{{{ResourceId(0), 1}}, 4, 0, 1, 2.0}, {{{ResourceId(0), 1}}, 20, 0}}, true);
  EXPECT_DOUBLE_EQ(capped[0], 2);
  EXPECT_DOUBLE_EQ(capped[1], 2);
  // A duplicated forward puts two bytes on link 1 per byte of payload: 12 / 2 = 6 B/s.
  EXPECT_DOUBLE_EQ(simulate({12, 12}, {{{{ResourceId(0), 1}, {ResourceId(1), 2}}, 12, 0}}, true)[0],
                   2);
}

TEST(FluidNetwork, CapacityThatChangesOverTime) {
  EventLoop loop;
  double end = 0;
  FluidNetwork network(loop, [&](std::uint64_t) { end = to_seconds(loop.now()); });
  const ResourceId link = network.add_resource(Bandwidth(10));
  const std::vector<ResourceUse> uses = {{link, 1}};
  network.start(uses, Bytes(40), 0);
  loop.at(Time(duration_from_seconds(1)), [&] { network.set_capacity(link, Bandwidth(0)); });
  loop.at(Time(duration_from_seconds(3)), [&] { network.set_capacity(link, Bandwidth(5)); });
  loop.run();
  EXPECT_DOUBLE_EQ(end, 9);  // 10 bytes by 1 s, nothing until 3 s, 30 bytes at 5 B/s
}

TEST(FluidNetwork, AStarvedTransferIsLeftOverAndTheLoopEnds) {
  EventLoop loop;
  FluidNetwork network(loop, [&](std::uint64_t) { FAIL() << "it can never end"; });
  const ResourceId link = network.add_resource(Bandwidth(0));
  const std::vector<ResourceUse> uses = {{link, 1}};
  network.start(uses, Bytes(1), 0);
  loop.run();
  EXPECT_EQ(network.active(), 1u);
}

class RandomGraphs : public ::testing::TestWithParam<int> {};

TEST_P(RandomGraphs, AgreeWithTheObviousSolverAtEveryEvent) {
  RandomStream random(static_cast<std::uint64_t>(GetParam()), "graphs");
  const std::size_t links = 2 + random.below(12);
  const std::size_t count = 2 + random.below(60);
  const bool ties = random.below(3) == 0;   // equal capacities, sizes and starts
  const bool fancy = random.below(2) == 0;  // weights, caps, multipliers
  std::vector<double> capacities(links);
  for (double& c : capacities)
    c = ties ? 1e9 * static_cast<double>(1 + random.below(2)) : 1e9 * (0.2 + 5 * random.uniform());
  std::vector<Transfer> transfers(count);
  for (Transfer& t : transfers) {
    const std::size_t length = 1 + random.below(std::min<std::size_t>(links, 6));
    std::vector<std::int64_t> ids(links);
    for (std::size_t i = 0; i < links; ++i) ids[i] = static_cast<std::int64_t>(i);
    random.shuffle(ids);
    for (std::size_t i = 0; i < length; ++i) {
      const double multiplier =
          fancy && random.below(3) == 0 ? 1.0 + static_cast<double>(random.below(3)) : 1.0;
      t.uses.push_back({ResourceId(ids[i]), multiplier});
    }
    t.bytes = ties ? 1e6 * static_cast<double>(1 + random.below(3))
                   : std::floor(1 + 3e7 * random.uniform());
    t.start_s = random.below(2) == 0 ? 0
                                     : (ties ? 1e-3 * static_cast<double>(random.below(4))
                                             : std::floor(1e10 * random.uniform()) * 1e-12);
    if (fancy && random.below(4) == 0) t.weight = 0.5 + 3 * random.uniform();
    if (fancy && random.below(4) == 0) t.cap = 1e8 * (1 + 9 * random.uniform());
  }
  std::vector<CapacityChange> changes;  // degraded, repaired and improved links
  if (random.below(3) == 0) {
    for (std::size_t i = 0; i < 1 + random.below(6); ++i) {
      const std::size_t link = random.below(links);
      const double factor = ties ? 0.5 : 0.1 + 1.5 * random.uniform();
      changes.push_back(
          {1e-3 * static_cast<double>(1 + random.below(20)), link, capacities[link] * factor});
    }
    std::stable_sort(changes.begin(), changes.end(),
                     [](const auto& a, const auto& b) { return a.time_s < b.time_s; });
  }
  expect_agreement(capacities, transfers, changes);
}

INSTANTIATE_TEST_SUITE_P(FourHundred, RandomGraphs, ::testing::Range(0, 400));

// An all-to-all over nodes of 8 with NVLink, NIC and a leaf pair: sizes all different, as routed
// tokens make them.
std::vector<Transfer> all_to_all(int ranks, std::uint64_t seed, std::vector<double>& capacities) {
  const int nodes = (ranks + 7) / 8;
  RandomStream random(seed, "all-to-all");
  capacities.assign(static_cast<std::size_t>(4 * ranks + 2 * nodes), 0);
  for (int r = 0; r < ranks; ++r) {
    capacities[static_cast<std::size_t>(4 * r)] = capacities[static_cast<std::size_t>(4 * r + 1)] =
        450e9;
    capacities[static_cast<std::size_t>(4 * r + 2)] =
        capacities[static_cast<std::size_t>(4 * r + 3)] = 50e9;
  }
  for (int n = 0; n < 2 * nodes; ++n) capacities[static_cast<std::size_t>(4 * ranks + n)] = 200e9;
  std::vector<Transfer> transfers;
  for (int a = 0; a < ranks; ++a) {
    for (int b = 0; b < ranks; ++b) {
      if (a == b) continue;
      Transfer t;
      if (a / 8 == b / 8) {
        t.uses = {{ResourceId(4 * a), 1}, {ResourceId(4 * b + 1), 1}};
      } else {
        t.uses = {{ResourceId(4 * a + 2), 1},
                  {ResourceId(4 * ranks + a / 8), 1},
                  {ResourceId(4 * ranks + nodes + b / 8), 1},
                  {ResourceId(4 * b + 3), 1}};
      }
      t.bytes = std::floor(7168.0 * (1 + 600 * random.uniform() / (1 + b % 7)));
      t.start_s = std::floor(1e7 * static_cast<double>(a % 5)) * 1e-12;
      transfers.push_back(t);
    }
  }
  return transfers;
}

TEST(FluidNetwork, AllToAllWithSkewedSizesAgreesWithTheObviousSolver) {
  std::vector<double> capacities;
  const std::vector<Transfer> transfers = all_to_all(24, 3, capacities);
  expect_agreement(capacities, transfers);
}

TEST(FluidNetwork, OrderOfStartsChangesNothingBeyondRounding) {
  std::vector<double> capacities;
  std::vector<Transfer> transfers = all_to_all(16, 5, capacities);
  const std::vector<double> forward = simulate(capacities, transfers, false);
  std::reverse(transfers.begin(), transfers.end());
  std::vector<double> backward = simulate(capacities, transfers, false);
  std::reverse(backward.begin(), backward.end());
  for (std::size_t i = 0; i < forward.size(); ++i) EXPECT_NEAR(forward[i], backward[i], 2e-12);
}

// n transfers of 1, 2, ..., n bytes on one link of 1 B/s, started together: when the one of k bytes
// ends, those before it have sent all theirs and the n - k after it k bytes each:
// end(k) = k (k + 1) / 2 + (n - k) k seconds.
TEST(FluidNetwork, ThousandsOfTransfersOnOneLink) {
  constexpr int kCount = 4000;
  std::vector<Transfer> transfers;
  for (int k = kCount; k >= 1; --k)
    transfers.push_back({{{ResourceId(0), 1}}, static_cast<double>(k), 0});
  const std::vector<double> end = simulate({1}, transfers, false);
  for (int k = 1; k <= kCount; ++k) {
    const double expected = 0.5 * k * (k + 1) + static_cast<double>(kCount - k) * k;
    EXPECT_NEAR(end[static_cast<std::size_t>(kCount - k)], expected, 1e-9 * expected);
  }
}

// Every transfer starts in a tick of its own while others end.
TEST(FluidNetwork, TransfersThatStartOneByOne) {
  std::vector<double> capacities;
  std::vector<Transfer> transfers = all_to_all(16, 9, capacities);
  for (std::size_t i = 0; i < transfers.size(); ++i)
    transfers[i].start_s = static_cast<double>((i * 7919) % 240) * 1e-7;
  expect_agreement(capacities, transfers);
}

// Transfers come and go far below a link's capacity, until those left take all of it: 20 short ones
// of 1 B/s over their own links and then 4 of 30 B/s share a link of 100 B/s: 25 B/s each.
TEST(FluidNetwork, ALinkThatWasIdleForLongFillsUp) {
  std::vector<double> capacities = {100};
  std::vector<Transfer> transfers;
  for (std::int64_t i = 0; i < 20; ++i) {
    capacities.push_back(1);
    transfers.push_back({{{ResourceId(1 + i), 1}, {ResourceId(0), 1}}, 1, static_cast<double>(i)});
  }
  for (std::int64_t i = 0; i < 4; ++i) {
    capacities.push_back(30);
    transfers.push_back({{{ResourceId(21 + i), 1}, {ResourceId(0), 1}}, 100, 30});
  }
  const std::vector<double> end = simulate(capacities, transfers, true);
  for (std::size_t i = 0; i < 20; ++i) EXPECT_DOUBLE_EQ(end[i], static_cast<double>(i) + 1);
  for (std::size_t i = 20; i < 24; ++i) EXPECT_DOUBLE_EQ(end[i], 34);
}

TEST(FluidNetwork, EqualSizesAndStartsAreOneSolve) {
  EventLoop loop;
  int ended = 0;
  FluidNetwork network(loop, [&](std::uint64_t) { ++ended; });
  const int ranks = 32;
  for (int r = 0; r < 2 * ranks; ++r) network.add_resource(Bandwidth(50e9));
  for (int a = 0; a < ranks; ++a) {
    for (int b = 0; b < ranks; ++b) {
      if (a == b) continue;
      const std::vector<ResourceUse> uses = {{ResourceId(2 * a), 1}, {ResourceId(2 * b + 1), 1}};
      network.start(uses, Bytes(1 << 20), 0);
    }
  }
  loop.run();
  EXPECT_EQ(ended, ranks * (ranks - 1));
  EXPECT_LE(loop.events_run(), 4u);  // solve, end, deliver
}

}  // namespace
}  // namespace sim
