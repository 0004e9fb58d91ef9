// The families that read tokens: each turns one layer into rows.
#include "traces/metrics/families.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sim/core/error.h"
#include "traces/metrics/caches.h"
#include "traces/metrics/correlation.h"
#include "traces/metrics/destinations.h"
#include "traces/metrics/locality.h"
#include "traces/statistics.h"

namespace sim {
namespace {

constexpr std::size_t kMostGroupCounters = std::size_t{1} << 27;  // 1 GiB

// Counts of the groups that `group_of` gives (or nothing) for each token.
template <class GroupOf>
GroupCounts count_groups(const LayerInput& in, std::size_t groups, GroupOf group_of) {
  GroupCounts out;
  out.experts = in.tokens.experts;
  const auto experts = static_cast<std::size_t>(out.experts);
  if (groups > kMostGroupCounters / experts) {
    throw Error(Place{in.table.path()},
                fmt::format("the popularity of {} groups of tokens needs more than 1 GiB", groups),
                "leave out the metrics 'clustering' and 'drift'");
  }
  out.tokens.assign(groups, 0);
  out.counts.assign(groups * experts, 0);
  for (std::int64_t t = 0; t < in.tokens.tokens; ++t) {
    const std::optional<std::size_t> group = group_of(t);
    if (!group) continue;
    ++out.tokens[*group];
    for (const std::uint16_t expert : in.tokens.of(t)) ++out.counts[*group * experts + expert];
  }
  return out;
}

// Number of the unit (request or step) of each token, from 0.
std::vector<std::uint32_t> unit_numbers(const Sequences& sequences) {
  std::vector<std::uint32_t> numbers;
  numbers.reserve(static_cast<std::size_t>(sequences.tokens()));
  std::uint32_t unit = 0;
  for (std::size_t s = 0; s < sequences.unit.size(); ++s) {
    if (s > 0 && sequences.unit[s] != sequences.unit[s - 1]) ++unit;
    numbers.resize(static_cast<std::size_t>(sequences.begin[s + 1]), unit);
  }
  return numbers;
}

GroupCounts count_units(const LayerInput& in) {
  const std::vector<std::uint32_t> unit = unit_numbers(in.table.sequences());
  return count_groups(in, unit.back() + std::size_t{1}, [&](std::int64_t t) {
    return std::optional<std::size_t>(unit[static_cast<std::size_t>(t)]);
  });
}

// The first or the last quarter of the positions of each sequence.
GroupCounts count_quarter(const LayerInput& in, bool last) {
  const Sequences& sequences = in.table.sequences();
  std::size_t s = 0;
  return count_groups(in, sequences.unit.size(), [&](std::int64_t t) {
    while (t >= sequences.begin[s + 1]) ++s;
    const std::int64_t quarter = (sequences.begin[s + 1] - sequences.begin[s]) / 4;
    const bool inside =
        last ? t >= sequences.begin[s + 1] - quarter : t < sequences.begin[s] + quarter;
    return inside ? std::optional<std::size_t>(s) : std::nullopt;
  });
}

std::string unit_name(const LayerInput& in) {
  return in.table.header().has_steps ? "steps" : "requests";
}

}  // namespace

void measure_popularity(const LayerInput& in, MetricRows& rows) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(in.tokens.experts), 0);
  for (const std::uint16_t expert : in.tokens.choices) ++counts[expert];
  add_popularity(counts, in.tokens.tokens, in.layer, rows);
}

void measure_batches(const LayerInput& in, MetricRows& rows) {
  for (const auto& [name, batches] : in.batches) {
    const BatchFigures figures = batch_figures(in.tokens, batches);
    rows.add("batch_max_over_mean", name, in.layer, figures.max_over_mean);
    rows.add("batch_max_over_mean_p95", name, in.layer, figures.max_over_mean_p95);
    rows.add("batch_distinct_experts", name, in.layer, figures.distinct_experts);
  }
}

void measure_srp(const LayerInput& in, ModelWindows& windows, MetricRows& rows) {
  windows.resize(in.options.windows.size());
  for (std::size_t i = 0; i < in.options.windows.size(); ++i) {
    const int m = in.options.windows[i];
    const std::string name = fmt::format("m={}", m);
    const auto experts = window_histograms(in.tokens, in.table.sequences(), m);
    double sum = 0;
    double used = 0;
    for (const WindowHistogram& expert : experts) {
      const Srp srp = best_srp(expert);
      sum += srp.f1;
      used += srp.predicted_over_active > 0 ? 1 : 0;
    }
    const WindowHistogram layer = sum_histograms(experts);
    const Srp group = best_srp(layer);
    if (used == 0) continue;  // no sequence is long enough
    rows.add("expert_srp", name, in.layer, sum / used);
    rows.add("group_srp", name, in.layer, group.f1);
    rows.add("group_srp_rho_hat", name, in.layer, group.predicted_over_active);
    windows[i].resize(layer.size(), 0);
    for (std::size_t f = 0; f < layer.size(); ++f) windows[i][f] += layer[f];
  }
}

// The model is one group: one threshold for the experts of all layers, no mean over layers.
void measure_model_srp(const MetricOptions& options, const ModelWindows& windows,
                       MetricRows& rows) {
  for (std::size_t i = 0; i < windows.size(); ++i) {
    if (windows[i].empty()) continue;
    const Srp model = best_srp(windows[i]);
    const std::string name = fmt::format("m={}", options.windows[i]);
    rows.add("group_srp", name, std::nullopt, model.f1);
    rows.add("group_srp_rho_hat", name, std::nullopt, model.predicted_over_active);
  }
}

void measure_caches(const LayerInput& in, MetricRows& rows) {
  const Sequences& sequences = in.table.sequences();
  for (const int ratio : in.options.cache_ratios) {
    const int size = ratio * in.tokens.top_k;
    if (size >= in.tokens.experts) continue;  // everything fits
    for (const CacheRuleName& rule : cache_rules()) {
      if (rule.rule == CacheRule::kSegment) {
        for (const int m : in.options.windows) {
          rows.add("sch", fmt::format("m={} rho={}", m, ratio), in.layer,
                   cache_hit_rate(in.tokens, sequences, rule.rule, size, m));
        }
      } else {
        rows.add(fmt::format("hit_rate_{}", rule.name), fmt::format("rho={}", ratio), in.layer,
                 cache_hit_rate(in.tokens, sequences, rule.rule, size));
      }
    }
  }
}

void measure_locality(const LayerInput& in, MetricRows& rows) {
  for (const int lag : in.options.lags) {
    rows.add("shared_experts", fmt::format("lag={}", lag), in.layer,
             shared_experts(in.tokens, in.table.sequences(), lag));
  }
  rows.add("shared_experts", "independent", in.layer, shared_experts_if_independent(in.tokens));
}

void measure_layers(const LayerInput& in, MetricRows& rows) {
  if (in.next == nullptr) return;
  const LayerCorrelation found = layer_correlation(in.tokens, *in.next, in.options.seed);
  rows.add("layer_information", "next layer", in.layer, found.information);
  rows.add("layer_information", "by chance", in.layer, found.by_chance);
}

void measure_pairs(const LayerInput& in, MetricRows& rows) {
  if (in.tokens.top_k < 2) return;
  const PairCorrelation found = pair_correlation(in.tokens);
  rows.add("pair_distance", "recorded", in.layer, found.distance);
  rows.add("pair_distance", "by chance", in.layer, found.by_chance);
}

void measure_destinations(const LayerInput& in, MetricRows& rows) {
  for (const int ranks : in.options.expert_parallel) {
    if (ranks > in.tokens.experts) continue;
    const Destinations found = destinations(in.tokens, ranks, in.options.ranks_per_node);
    rows.add("destination_ranks", fmt::format("EP={}", ranks), in.layer, found.ranks_per_token);
    if (ranks <= in.options.ranks_per_node) continue;
    rows.add("destination_nodes", fmt::format("EP={} by {}", ranks, in.options.ranks_per_node),
             in.layer, found.nodes_per_token);
  }
}

void measure_balance(const LayerInput& in, MetricRows& rows) {
  TraceBalance balance(in.tokens.experts);
  const std::vector<float> weights = in.table.layer_weights(in.layer);
  for (std::int64_t t = 0; t < in.tokens.tokens; ++t) {
    const auto choices = in.tokens.of(t);
    std::span<const float> of_token;
    if (!weights.empty()) {
      of_token = {weights.data() + (choices.data() - in.tokens.choices.data()), choices.size()};
    }
    balance.add(choices, of_token);
  }
  add_balance(balance, in.layer, rows);
}

void measure_clustering(const LayerInput& in, MetricRows& rows) {
  add_clustering(count_units(in), unit_name(in), in.layer, rows);
  if (in.table.tags().empty()) return;
  const auto by_tag = count_groups(in, in.table.tag_names().size(), [&](std::int64_t t) {
    return std::optional<std::size_t>(in.table.tags()[static_cast<std::size_t>(t)]);
  });
  add_clustering(by_tag, "tags", in.layer, rows);
}

void measure_drift(const LayerInput& in, MetricRows& rows) {
  add_drift(count_units(in), unit_name(in), in.layer, in.options.seed, rows);
  if (in.table.header().has_steps) return;  // the order inside a step is no time
  const Drift inside =
      drift_within(count_quarter(in, false), count_quarter(in, true), in.options.seed);
  rows.add("drift", "positions", in.layer, inside.distance);
  rows.add("drift_by_chance", "positions", in.layer, inside.by_chance);
}

}  // namespace sim
