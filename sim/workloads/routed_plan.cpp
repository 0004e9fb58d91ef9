#include "sim/workloads/routed_plan.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "sim/core/error.h"

namespace sim {

double max_over_mean(const std::vector<std::int64_t>& values) {
  std::int64_t sum = 0;
  std::int64_t most = 0;
  for (const std::int64_t v : values) {
    sum += v;
    most = std::max(most, v);
  }
  return sum == 0 ? 1.0
                  : static_cast<double>(most) * static_cast<double>(values.size()) /
                        static_cast<double>(sum);
}

const LayerRouting& RoutedPlanner::slice(LayerRouting& routing, const std::vector<DeviceId>& ranks,
                                         int first_rank) {
  if (static_cast<int>(ranks.size()) == routing.ranks) return routing;
  const std::size_t experts = static_cast<std::size_t>(routing.experts);
  LayerRouting& out = of_group_;
  out.ranks = static_cast<int>(ranks.size());
  out.experts = routing.experts;
  out.per_token = routing.per_token;
  out.counts.clear();
  out.rank_begin.clear();
  out.choice_begin.clear();
  out.choices.clear();
  const bool tokens_known = !routing.rank_begin.empty();
  if (tokens_known) out.rank_begin.push_back(0);
  if (routing.per_token) out.choice_begin.push_back(0);
  for (const DeviceId device : ranks) {
    const std::size_t r = device.index() - static_cast<std::size_t>(first_rank);
    const auto counts = routing.counts.begin() + static_cast<std::ptrdiff_t>(r * experts);
    out.counts.insert(out.counts.end(), counts, counts + static_cast<std::ptrdiff_t>(experts));
    if (!tokens_known) continue;
    const std::int64_t begin = routing.rank_begin[r];
    const std::int64_t end = routing.rank_begin[r + 1];
    out.rank_begin.push_back(out.rank_begin.back() + end - begin);
    if (!routing.per_token) continue;
    const std::int64_t choice = routing.choice_begin[static_cast<std::size_t>(begin)];
    const std::int64_t moved = static_cast<std::int64_t>(out.choices.size()) - choice;
    for (std::int64_t t = begin + 1; t <= end; ++t)
      out.choice_begin.push_back(routing.choice_begin[static_cast<std::size_t>(t)] + moved);
    out.choices.insert(
        out.choices.end(), routing.choices.begin() + choice,
        routing.choices.begin() + routing.choice_begin[static_cast<std::size_t>(end)]);
  }
  return out;
}

RoutedPlan RoutedPlanner::plan(BlockId block, const ExpertPlacement& placement,
                               LayerRouting& routing, int stage, std::int64_t tokens) {
  const ParallelLayout& layout = setup_.layout;
  RoutedPlan plan;
  RoutedBlockFacts& facts = plan.facts;
  facts.layer = block.layer;
  facts.expert_rows.assign(static_cast<std::size_t>(routing.experts), 0);
  for (std::size_t i = 0; i < routing.counts.size(); ++i)
    facts.expert_rows[i % facts.expert_rows.size()] += routing.counts[i];
  for (int e = 0; e < routing.experts; ++e)
    facts.replicas.push_back(static_cast<int>(placement.copies(e).size()));
  facts.counts_only = !routing.per_token;
  facts.rows = std::accumulate(routing.counts.begin(), routing.counts.end(), std::int64_t{0});
  facts.tokens = routing.per_token ? routing.tokens() : tokens;
  facts.expert_imbalance_max_over_mean = max_over_mean(facts.expert_rows);
  const int top_k = static_cast<int>(block_at(setup_.model, block).ffn().routing->top_k);
  const int groups = layout.ep_groups() / layout.pp;
  std::vector<std::int64_t> rank_rows;  // over all EP groups
  for (int g = stage * groups; g < (stage + 1) * groups; ++g) {
    auto data = std::make_shared<BlockExchange>();
    data->layer = block.layer;
    data->experts = placement.experts;
    data->ranks = layout.ep_devices(g);
    const int first_node = network_.node_of(data->ranks.front()).value();
    for (const DeviceId device : data->ranks)
      data->node_of_rank.push_back(network_.node_of(device).value() - first_node);
    const int per_node =
        static_cast<int>(setup_.cluster.nodes[static_cast<std::size_t>(first_node)].devices.size());
    const LayerRouting& of_group = slice(routing, data->ranks, layout.first_rank(stage));
    // With expert tensor parallelism every etp-th rank of a node is in the group.
    assign_slots(*setup_.split, {of_group, placement, std::max(1, per_node / layout.etp)},
                 assignment_);
    if (setup_.ports != nullptr) {
      count_port_copies(of_group, assignment_, placement, data->node_of_rank, top_k,
                        *port_form(setup_.exchange->name), data->port_copies);
    } else {
      count_copies(of_group, assignment_, placement, data->node_of_rank, top_k, data->copies);
    }
    const std::vector<std::int64_t> rows = assignment_.rows_per_rank(placement.slots_per_rank);
    rank_rows.insert(rank_rows.end(), rows.begin(), rows.end());
    plan.groups.push_back({std::move(data), assignment_.rows_per_slot()});
  }
  facts.imbalance_max_over_mean = max_over_mean(rank_rows);
  return plan;
}

}  // namespace sim
