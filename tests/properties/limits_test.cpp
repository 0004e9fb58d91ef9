// Symmetries and limits whose answer is known without the engine.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "models/roofline.h"
#include "tests/properties/random_scenario.h"
#include "traces/synthetic/synthetic.h"

namespace sim {
namespace {

constexpr Duration kRounding(2);

std::size_t size_of(int n) { return static_cast<std::size_t>(n); }

// The tokens of every rank as lists of experts.
std::vector<std::vector<std::vector<int>>> tokens_of(const LayerRouting& routing) {
  std::vector<std::vector<std::vector<int>>> tokens(size_of(routing.ranks));
  for (int r = 0; r < routing.ranks; ++r) {
    for (std::int64_t t = routing.rank_begin[size_of(r)]; t < routing.rank_begin[size_of(r) + 1];
         ++t) {
      const std::size_t at = static_cast<std::size_t>(t);
      tokens[size_of(r)].emplace_back(routing.choices.begin() + routing.choice_begin[at],
                                      routing.choices.begin() + routing.choice_begin[at + 1]);
    }
  }
  return tokens;
}

// On one switch no rank is special: who has which tokens and experts may be renamed.
TEST(Limits, APermutationOfRanksChangesNothing) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    RandomStream random(seed, "permutation");
    const int ranks = testing::drawn(random, 2, 6);
    const int per_rank = testing::drawn(random, 1, 3);
    testing::RandomScenario drawn(seed);
    testing::TinyScenario& scenario = drawn.scenario;
    if (scenario.algorithm == "pipe-a2a") continue;  // a rank talks to its neighbours first
    scenario.parallel = {};
    scenario.cluster = testing::rail_cluster(1, ranks, drawn.ports);
    const int top_k = testing::drawn(random, 1, std::min(2, ranks * per_rank));
    scenario.model = testing::tiny_moe(1, ranks * per_rank, top_k);
    scenario.routing = {testing::drawn_routing(random, ranks, ranks * per_rank, top_k)};
    const Duration before = testing::run_tiny(scenario)->step_time();

    std::vector<int> new_rank(size_of(ranks));
    std::iota(new_rank.begin(), new_rank.end(), 0);
    random.shuffle(new_rank);
    const auto tokens = tokens_of(scenario.routing[0]);
    std::vector<std::vector<std::vector<int>>> moved(tokens.size());
    std::vector<ExpertId> slots(size_of(ranks * per_rank));
    for (int r = 0; r < ranks; ++r) {
      const int to = new_rank[size_of(r)];
      moved[size_of(to)] = tokens[size_of(r)];
      for (int s = 0; s < per_rank; ++s) {
        slots[size_of(to * per_rank + s)] = ExpertId(r * per_rank + s);
      }
    }
    scenario.routing = {testing::routing_of(moved, ranks * per_rank)};
    scenario.placements = {make_placement(ranks * per_rank, ranks, std::move(slots))};
    EXPECT_LE(abs(testing::run_tiny(scenario)->step_time() - before), kRounding)
        << seed << " " << scenario.algorithm;
  }
}

// With links that take no time only the kernels and who waits for whom are left. Worked out here
// without the engine: one recursion over the blocks.
Duration without_network(const testing::TinyScenario& scenario, const testing::FixedCosts& costs) {
  const int ranks = scenario.cluster.device_count();
  const bool meet = find_exchange_algorithm(scenario.algorithm).start == StartRule::kRendezvous;
  std::vector<double> at(size_of(ranks), to_seconds(scenario.host.per_step) * 1e6);
  for (double& t : at) t += costs.once.at("embedding");
  for (const LayerRouting& layer : scenario.routing) {
    const int per_rank = layer.experts / ranks;
    std::vector<std::vector<bool>> sends(size_of(ranks), std::vector<bool>(size_of(ranks)));
    std::vector<int> rows(size_of(ranks));
    for (int s = 0; s < ranks; ++s) {
      for (int e = 0; e < layer.experts; ++e) {
        const auto n = static_cast<int>(layer.counts[size_of(s * layer.experts + e)]);
        if (n > 0) sends[size_of(s)][size_of(e / per_rank)] = true;
        rows[size_of(e / per_rank)] += n;
      }
    }
    const auto exchange = [&](bool back) {
      const std::vector<double> entered = at;
      for (std::size_t s = 0; s < at.size(); ++s) {
        for (std::size_t d = 0; d < at.size(); ++d) {
          if (!(back ? sends[d][s] : sends[s][d])) continue;
          at[d] = std::max(at[d], entered[s]);
          if (meet) at[s] = std::max(at[s], entered[d]);
        }
      }
    };
    for (std::size_t r = 0; r < at.size(); ++r) {
      const double tokens = static_cast<double>(layer.tokens_of(static_cast<int>(r)));
      if (tokens > 0) at[r] += costs.per_token.at("qkv_proj") * tokens + costs.once.at("router");
    }
    exchange(false);
    for (std::size_t r = 0; r < at.size(); ++r) {
      if (layer.tokens_of(static_cast<int>(r)) > 0) at[r] += costs.once.at("shared_up_proj");
      at[r] += costs.per_expert_row * rows[r];
    }
    exchange(true);
  }
  for (double& t : at) t += costs.once.at("lm_head");
  return duration_from_seconds(*std::max_element(at.begin(), at.end()) * 1e-6);
}

TEST(Limits, WithInfiniteBandwidthOnlyKernelsAndWaitingAreLeft) {
  int checked = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    testing::RandomScenario drawn(seed);
    testing::TinyScenario& scenario = drawn.scenario;
    // Every rank has a token, as its first and last kernels need one.
    bool all_have_tokens = true;
    for (int r = 0; r < scenario.cluster.device_count(); ++r) {
      for (LayerRouting& layer : scenario.routing) {
        if (layer.tokens_of(r) == 0) all_have_tokens = false;
      }
    }
    if (!all_have_tokens || scenario.routing.size() > 1) continue;
    ++checked;
    scenario.parallel = {};
    const int ranks = scenario.cluster.device_count();
    const int experts = ranks * 2;
    RandomStream random(seed, "experts");
    auto tokens = tokens_of(scenario.routing[0]);
    for (auto& of_rank : tokens) {
      for (auto& choices : of_rank) choices = {testing::drawn(random, 0, experts - 1)};
    }
    scenario.model = testing::tiny_moe(1, experts, 1);
    scenario.routing = {testing::routing_of(tokens, experts)};
    scenario.startup = StartupCost{};
    scenario.host.launch = LaunchMode::kGraph;
    scenario.communication_sms = 0;
    scenario.overlap = Overlap::kNone;
    scenario.copy_bandwidth = Bandwidth(1e18);
    const PortFigure wire = testing::port_of(1e18, Duration(0));
    scenario.cluster = testing::rail_cluster(drawn.nodes, drawn.gpus, {wire, wire, wire, 1});
    const Duration expected = without_network(scenario, drawn.costs);
    // Up to a tick for each stage of the two exchanges, at most five, and for each of nine kernels.
    EXPECT_LE(abs(testing::run_tiny(scenario)->step_time() - expected), Duration(19)) << seed;
  }
  EXPECT_GE(checked, 5);
}

TEST(Limits, OneGpuUsesNoLink) {
  testing::FixedCosts costs;
  costs.per_expert_row = 1;
  for (const ExchangeAlgorithm& algorithm : kExchangeAlgorithms) {
    testing::TinyScenario scenario;
    scenario.costs = &costs;
    scenario.cluster = testing::rail_cluster(1, 1);
    scenario.algorithm = algorithm.name;
    scenario.model = testing::tiny_moe(1, 4, 2);
    scenario.routing = {testing::routing_of({{{0, 1}, {2, 3}}}, 4)};
    scenario.copy_bandwidth = Bandwidth(1e18);  // a token for itself is copied in its memory
    const auto run = testing::run_tiny(scenario);
    for (const double bytes : run->link_payload) EXPECT_EQ(bytes, 0);
    const CauseVector& causes = run->steps[0].causes;
    // A tick per stage of the two exchanges.
    EXPECT_LE(causes[id_of(Cause::kNetwork)], 10) << algorithm.name;
    EXPECT_EQ(causes[id_of(Cause::kCongestion)], 0);
    EXPECT_LE(abs(run->step_time() - Duration(4'000'000)), Duration(12));  // 4 rows
  }
}

// Rows per rank are then near their mean M: a deviation above 5 sqrt(M) is no accident.
TEST(Limits, UniformRoutingInOrderIsBalanced) {
  const int ranks = 8, experts = 64, top_k = 8;
  const std::int64_t tokens = 2048;
  SyntheticSpec spec;
  spec.kind = SyntheticKind::kUniform;
  const auto source =
      make_synthetic(spec, {experts}, top_k, std::vector<std::int64_t>(size_of(ranks), tokens), 3);
  LayerRouting layer;
  source->fill(0, 0, layer);
  testing::FixedCosts costs;
  testing::TinyScenario scenario;
  scenario.costs = &costs;
  scenario.cluster = testing::rail_cluster(1, ranks);
  scenario.model = testing::tiny_moe(1, experts, top_k);
  scenario.routing = {layer};
  const RoutedBlockFacts facts = testing::run_tiny(scenario)->steps[0].facts.blocks[0];
  const double mean = static_cast<double>(tokens * top_k);
  EXPECT_EQ(facts.rows, tokens * top_k * ranks);
  EXPECT_GE(facts.imbalance_max_over_mean, 1);
  EXPECT_LE(facts.imbalance_max_over_mean, 1 + 5 / std::sqrt(mean));
}

// The bound is flops at peak and bytes at full HBM rate; the roofline keeps above it.
TEST(Limits, AStepIsNeverFasterThanItsFlopsAtPeak) {
  const Roofline roofline;
  for (std::uint64_t seed = 1; seed <= 30; ++seed) {
    testing::RandomScenario drawn(seed);
    drawn.scenario.costs = &roofline;
    drawn.scenario.device.peak = {{DType::kBf16, FlopRate(1e11)}, {DType::kFp32, FlopRate(1e10)}};
    drawn.scenario.device.memory_bandwidth = Bandwidth(1e10);
    const auto run = drawn.run();
    EXPECT_EQ(run->steps[0].facts.least_compute_s > 0, run->steps[0].facts.tokens > 0) << seed;
    EXPECT_GE(to_seconds(run->step_time()) * (1 + 1e-9), run->steps[0].facts.least_compute_s);
  }
}

}  // namespace
}  // namespace sim
