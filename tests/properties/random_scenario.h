// Small scenarios drawn from a seed: every shape that a step may have, a few ranks and tokens each.
#pragma once

#include <algorithm>
#include <iterator>
#include <vector>

#include "sim/core/random.h"
#include "tests/support/tiny_run.h"

namespace sim::testing {

inline int drawn(RandomStream& random, int least, int most) {
  return least + static_cast<int>(random.below(static_cast<std::uint64_t>(most - least + 1)));
}

// Different experts per token; low numbers are more popular.
inline LayerRouting drawn_routing(RandomStream& random, int ranks, int experts, int top_k) {
  std::vector<std::vector<std::vector<int>>> tokens(static_cast<std::size_t>(ranks));
  for (auto& of_rank : tokens) {
    of_rank.resize(random.below(7));
    for (std::vector<int>& choices : of_rank) {
      while (static_cast<int>(choices.size()) < top_k) {
        const double u = random.uniform();
        const int expert = static_cast<int>(u * u * experts);
        if (std::find(choices.begin(), choices.end(), expert) == choices.end())
          choices.push_back(expert);
      }
    }
  }
  return routing_of(tokens, experts);
}

inline int drawn_divisor(RandomStream& random, int number) {
  std::vector<int> divisors;
  for (int d = 1; d <= number; ++d) {
    if (number % d == 0) divisors.push_back(d);
  }
  return divisors[random.below(divisors.size())];
}

struct RandomScenario {
  TinyScenario scenario;
  FixedCosts costs;
  int nodes = 1;
  int gpus = 1;
  RailPorts ports;

  explicit RandomScenario(std::uint64_t seed) {
    RandomStream random(seed, "scenario");
    nodes = drawn(random, 1, 3);
    gpus = drawn(random, 1, 4);
    const int world = nodes * gpus;
    scenario.parallel.tp = drawn_divisor(random, world);
    const int ep = drawn_divisor(random, world);
    scenario.parallel.ep = ep;
    const int layers = drawn(random, 1, 2);
    const int experts = ep * drawn(random, 1, 3);
    const int top_k = std::min(experts, drawn(random, 1, 3));
    scenario.model = tiny_moe(layers, experts, top_k);
    for (int l = 0; l < layers; ++l) {
      scenario.routing.push_back(drawn_routing(random, world, experts, top_k));
    }
    const int count = static_cast<int>(std::size(kExchangeAlgorithms));
    scenario.algorithm =
        kExchangeAlgorithms[static_cast<std::size_t>(drawn(random, 0, count - 1))].name;
    scenario.communication_sms = drawn(random, 0, 2);
    scenario.overlap = random.below(2) == 0 ? Overlap::kNone : Overlap::kSharedExperts;
    scenario.host.per_step = Duration(drawn(random, 0, 5'000'000));
    scenario.host.launch = random.below(4) == 0 ? LaunchMode::kEager : LaunchMode::kGraph;
    scenario.host.per_launch = Duration(drawn(random, 0, 3'000'000));
    scenario.startup.base = Duration(random.below(2) * 7'000'000);
    scenario.copy_bandwidth = Bandwidth(1e9 * drawn(random, 1, 50));
    ports.nvlink = port_of(1e8 * drawn(random, 1, 20), Duration(drawn(random, 0, 500'000)));
    ports.nic = port_of(1e8 * drawn(random, 1, 10), Duration(drawn(random, 0, 2'000'000)));
    ports.fabric = port_of(1e8 * drawn(random, 1, 20), Duration(drawn(random, 0, 500'000)));
    scenario.cluster = rail_cluster(nodes, gpus, ports);
    for (const char* kernel : {"embedding", "router", "shared_up_proj", "lm_head"}) {
      costs.once[kernel] = random.uniform() * 10;
    }
    costs.per_token["qkv_proj"] = random.uniform() * 3;
    costs.per_expert_row = random.uniform() * 3;
    scenario.costs = &costs;
  }
  RandomScenario(const RandomScenario&) = delete;

  std::unique_ptr<TinyResult> run() const { return run_tiny(scenario); }
  std::unique_ptr<TinyResult> run_with(const RailPorts& others) const {
    TinyScenario copy = scenario;
    copy.cluster = rail_cluster(nodes, gpus, others);
    return run_tiny(copy);
  }
};

}  // namespace sim::testing
