// Rows as they are collected, and the families that tokens and counts share.
#include <fmt/format.h>

#include "traces/metrics/families.h"
#include "traces/statistics.h"

namespace sim {

void MetricRows::add(std::string_view metric, const std::string& parameter,
                     std::optional<int> layer, double value) {
  Series* found = nullptr;
  for (Series& series : series_) {
    if (series.metric == metric && series.parameter == parameter) found = &series;
  }
  if (found == nullptr)
    found = &series_.emplace_back(Series{std::string(metric), parameter, {}, {}});
  if (layer) {
    found->layers.emplace_back(*layer, value);
  } else {
    found->whole = value;
  }
}

TraceMetrics MetricRows::take() const {
  TraceMetrics metrics;
  for (const Series& series : series_) {
    double sum = 0;
    for (const auto& [layer, value] : series.layers) sum += value;
    const double mean = series.layers.empty() ? 0 : sum / static_cast<double>(series.layers.size());
    metrics.rows.push_back(
        {series.metric, series.parameter, std::nullopt, series.whole.value_or(mean)});
    for (const auto& [layer, value] : series.layers) {
      metrics.rows.push_back({series.metric, series.parameter, layer, value});
    }
  }
  return metrics;
}

void add_popularity(const std::vector<std::int64_t>& counts, std::int64_t tokens, int layer,
                    MetricRows& rows) {
  const Imbalance found = imbalance(counts);
  rows.add("max_over_mean", "", layer, found.max_over_mean);
  rows.add("cv", "", layer, found.cv);
  rows.add("gini", "", layer, found.gini);
  rows.add("normalised_entropy", "", layer, found.normalised_entropy);
  rows.add("unused_experts", "", layer, found.zero_experts);
  if (tokens == 0) return;
  // Standard deviation over experts of the share of tokens that choose them (arXiv 2505.16056).
  const double mean = static_cast<double>(found.choices) / static_cast<double>(tokens) /
                      static_cast<double>(counts.size());
  rows.add("frequency_sd", "", layer, found.cv * mean);
}

void add_balance(const TraceBalance& balance, int layer, MetricRows& rows) {
  for (const BalanceTerm& term : balance_terms()) {
    if (term.on_trace == nullptr) continue;
    const std::optional<double> value = term.on_trace(balance);
    if (value)
      rows.add(fmt::format("balance_{}", term.name), std::string(to_text(term.trace_form)), layer,
               *value);
  }
}

void add_clustering(const GroupCounts& groups, const std::string& grouping, int layer,
                    MetricRows& rows) {
  std::size_t used = 0;
  for (const std::int64_t tokens : groups.tokens) used += tokens > 0 ? 1 : 0;
  if (used < 2) return;
  const Clustering found = clustering(groups);
  rows.add("variance_over_sampling", grouping, layer, found.over_sampling);
  rows.add("intraclass_share", grouping, layer, found.intraclass);
}

void add_drift(const GroupCounts& groups, const std::string& grouping, int layer,
               std::uint64_t seed, MetricRows& rows) {
  if (groups.groups() < 4) return;
  const Drift found = drift(groups, seed);
  rows.add("drift", grouping, layer, found.distance);
  rows.add("drift_by_chance", grouping, layer, found.by_chance);
}

}  // namespace sim
