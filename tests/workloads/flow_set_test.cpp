// Raw flows against the obvious solver, event by event and unrounded; and the short way against the
// full one.
#include "sim/workloads/flows/flow_set.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "sim/core/max_min_fair.h"
#include "sim/core/random.h"
#include "sim/workloads/flows/one_solve.h"

namespace sim {
namespace {

// Rates from scratch after every begin and end.
std::vector<double> obvious(const FlowSet& set) {
  const std::size_t count = set.flows.size();
  std::vector<double> left(count), finish(count, -1);
  for (std::size_t f = 0; f < count; ++f) left[f] = set.flows[f].bytes;
  double now = 0;
  for (std::size_t open = count; open > 0;) {
    std::vector<std::size_t> active;
    std::vector<Demand> demands;
    double until = 1e300;
    for (std::size_t f = 0; f < count; ++f) {
      if (finish[f] >= 0) continue;
      const double begin = set.begin_s(set.flows[f]);
      if (begin > now) {
        until = std::min(until, begin);
        continue;
      }
      active.push_back(f);
      Demand demand;
      const std::uint32_t route = set.flows[f].route;
      for (std::size_t i = 0; i < set.links(route).size(); ++i)
        demand.uses.push_back({ResourceId(set.links(route)[i]), set.multiplier(route, i)});
      if (!set.weights.empty()) demand.weight = set.weights[f];
      if (!set.caps_bytes_per_s.empty()) demand.cap = set.caps_bytes_per_s[f];
      demands.push_back(demand);
    }
    const std::vector<double> rates = max_min_fair(set.capacities, demands);
    for (std::size_t k = 0; k < active.size(); ++k)
      until = std::min(until, now + left[active[k]] / rates[k]);
    for (std::size_t k = 0; k < active.size(); ++k) {
      const std::size_t f = active[k];
      if (now + left[f] / rates[k] <= until * (1 + 1e-15)) {
        finish[f] = until;
        --open;
      } else {
        left[f] -= rates[k] * (until - now);
      }
    }
    now = until;
  }
  return finish;
}

void expect_agreement(const std::vector<double>& ours, const std::vector<double>& truth) {
  ASSERT_EQ(ours.size(), truth.size());
  for (std::size_t f = 0; f < ours.size(); ++f)
    EXPECT_NEAR(ours[f], truth[f], 1e-9 * truth[f] + 2e-12) << "flow " << f;
}

FlowSet random_set(std::uint64_t seed) {
  RandomStream random(seed, "flow-set");
  const bool ties = random.below(3) == 0;
  const bool fancy = random.below(2) == 0;
  FlowSet set;
  const std::size_t links = 2 + random.below(14);
  for (std::size_t l = 0; l < links; ++l)
    set.capacities.push_back(ties ? 1e9 : 1e8 + 5e9 * random.uniform());
  const std::size_t routes = 1 + random.below(20);
  for (std::size_t r = 0; r < routes; ++r) {
    std::vector<std::int32_t> ids(links);
    for (std::size_t l = 0; l < links; ++l) ids[l] = static_cast<std::int32_t>(l);
    random.shuffle(ids);
    ids.resize(1 + random.below(std::min<std::size_t>(links, 6)));
    set.route_links.insert(set.route_links.end(), ids.begin(), ids.end());
    set.route_first.push_back(static_cast<std::uint32_t>(set.route_links.size()));
    set.route_latency_s.push_back(random.below(2) == 0 ? 0 : 1e-6 * random.uniform());
    if (!fancy) continue;
    for (std::size_t i = 0; i < ids.size(); ++i)
      set.route_multipliers.push_back(1 + static_cast<double>(random.below(3)) / 2);
  }
  const std::size_t flows = 2 + random.below(80);
  for (std::size_t f = 0; f < flows; ++f) {
    Flow flow;
    flow.bytes = ties ? 1e6 * static_cast<double>(random.below(4))  // some carry nothing
                      : std::floor(1 + 4e7 * random.uniform());
    flow.start_s = random.below(2) == 0 ? 0 : 1e-2 * random.uniform();
    flow.route = static_cast<std::uint32_t>(random.below(routes));
    set.flows.push_back(flow);
    if (!fancy) continue;
    set.weights.push_back(random.below(2) == 0 ? 1 : 0.5 + 3 * random.uniform());
    set.caps_bytes_per_s.push_back(random.below(3) == 0 ? 1e8 * (1 + 9 * random.uniform())
                                                        : std::numeric_limits<double>::infinity());
  }
  return set;
}

class RandomFlows : public ::testing::TestWithParam<int> {};

TEST_P(RandomFlows, AgreeWithTheObviousSolver) {
  const FlowSet set = random_set(static_cast<std::uint64_t>(GetParam()));
  const std::vector<double> truth = obvious(set);
  const FlowTimes ours = solve_flows(set);
  expect_agreement(ours.finish_s, truth);
  EXPECT_DOUBLE_EQ(ours.makespan_s, *std::max_element(ours.finish_s.begin(), ours.finish_s.end()));
  EXPECT_GE(ours.makespan_s, makespan_lower_bound_s(set) * (1 - 1e-12));
}

INSTANTIATE_TEST_SUITE_P(Seeds, RandomFlows, ::testing::Range(0, 300));

// `sizes[a][b]` bytes from host a to b over an up link of a (1 GB/s) and a down link of b.
FlowSet exchange(const std::vector<std::vector<double>>& sizes) {
  const std::size_t hosts = sizes.size();
  FlowSet set;
  set.capacities.assign(2 * hosts, 1e9);
  for (std::size_t a = 0; a < hosts; ++a) {
    for (std::size_t b = 0; b < hosts; ++b) {
      if (sizes[a][b] == 0) continue;
      set.flows.push_back({sizes[a][b], 0, static_cast<std::uint32_t>(set.route_count())});
      set.route_links.push_back(static_cast<std::int32_t>(a));
      set.route_links.push_back(static_cast<std::int32_t>(hosts + b));
      set.route_first.push_back(static_cast<std::uint32_t>(set.route_links.size()));
      set.route_latency_s.push_back(0);
    }
  }
  return set;
}

TEST(OneSolve, EqualSizesOfAnyPatternNeedNoEvents) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    RandomStream random(seed, "one-solve");
    std::vector<std::vector<double>> sizes(12, std::vector<double>(12, 0));
    for (auto& row : sizes) {
      for (double& bytes : row) bytes = random.below(3) == 0 ? 0 : 1e6;
    }
    const FlowSet set = exchange(sizes);
    const std::optional<FlowTimes> quick = solve_once(set);
    ASSERT_TRUE(quick.has_value());
    expect_agreement(quick->finish_s, solve_flows_by_events(set).finish_s);
  }
}

// 100 and 101 GB leave over one link: the first ends after 200 s, the second 1 s later. With a
// window of 5 % the second runs to its end at half the rate, 202 s; 0.1 % is too short for that.
TEST(Window, SettlesEndsTogetherThatAreNear) {
  const FlowSet set = exchange({{0, 100e9, 101e9}, {0, 0, 0}, {0, 0, 0}});
  EXPECT_EQ(solve_flows_by_events(set).finish_s[1], 201);
  EXPECT_EQ(solve_flows_by_events(set, 0.05).finish_s[0], 200);
  EXPECT_NEAR(solve_flows_by_events(set, 0.05).finish_s[1], 202, 1e-6);
  EXPECT_NEAR(solve_flows_by_events(set, 0.001).finish_s[1], 201, 1e-6);
}

// What is freed is shared out late, never early: no end lies much before the exact one, and the
// error is of the window's order (all ends begin at zero here).
TEST(Window, ErrorIsOfItsOrder) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    RandomStream random(seed, "window");
    std::vector<std::vector<double>> sizes(16, std::vector<double>(16, 0));
    for (auto& row : sizes) {
      for (double& bytes : row) bytes = std::floor(1e6 * (1 + 9 * random.uniform()));
    }
    const FlowSet set = exchange(sizes);
    const FlowTimes exact = solve_flows_by_events(set);
    const FlowTimes near = solve_flows_by_events(set, 0.01);
    EXPECT_GE(near.makespan_s, makespan_lower_bound_s(set) * (1 - 1e-12));
    for (std::size_t f = 0; f < exact.finish_s.size(); ++f)
      EXPECT_NEAR(near.finish_s[f] / exact.finish_s[f], 1, 0.05) << seed;
  }
}

TEST(OneSolve, IsRefusedWhenAnEndWouldChangeARate) {
  EXPECT_TRUE(solve_once(exchange({{0, 5}, {0, 0}})).has_value());
  EXPECT_FALSE(solve_once(exchange({{0, 5, 6}, {0, 0, 0}, {0, 0, 0}})).has_value());
  // The shorter one is slow: it is held where the longer one is not, and ends later.
  FlowSet set = exchange({{0, 9, 1}, {0, 0, 0}, {0, 0, 0}});
  set.capacities[3 + 2] = 1e6;
  EXPECT_TRUE(solve_once(set).has_value());
  expect_agreement(solve_flows(set).finish_s, obvious(set));
  FlowSet late = exchange({{0, 5}, {5, 0}});
  late.flows[1].start_s = 1;
  EXPECT_FALSE(solve_once(late).has_value());
}

}  // namespace
}  // namespace sim
