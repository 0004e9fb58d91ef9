// What a trace of counts can show: popularity, recorded steps as batches, clustering, drift and
// the balance terms that counts are enough for.
#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "sim/core/error.h"
#include "sim/core/random.h"
#include "traces/metrics/families.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

using Histogram = std::vector<std::int64_t>;

constexpr std::size_t kMostCounters = std::size_t{1} << 27;  // 1 GiB of int64

// Histograms of one layer by step or tag.
struct Grouped {
  std::map<std::int64_t, Histogram> counts;
  std::map<std::int64_t, std::int64_t> tokens;
};

struct CountedLayer {
  Histogram whole;
  std::int64_t tokens = 0;
  Grouped by_step;
  Grouped by_tag;
};

void add(Grouped& groups, std::int64_t group, const CountRow& row, std::int64_t tokens) {
  Histogram& counts = groups.counts[group];
  counts.resize(row.counts.size(), 0);
  for (std::size_t e = 0; e < counts.size(); ++e) counts[e] += row.counts[e];
  groups.tokens[group] += tokens;
}

// Rows whose choices per token are not top-k (top-1 counts beside top-8 counts) are left out, as in
// layer_statistics. Tokens that were not recorded are choices / top-k.
void read_row(const CountRow& row, const TraceHeader& header, CountedLayer& layer) {
  std::int64_t choices = 0;
  for (const std::int64_t c : row.counts) choices += c;
  if (row.tokens > 0 && choices != row.tokens * header.top_k) return;
  const std::int64_t tokens = header.counts_are_fractions ? 0
                              : row.tokens > 0            ? row.tokens
                                                          : choices / header.top_k;
  layer.whole.resize(row.counts.size(), 0);
  for (std::size_t e = 0; e < row.counts.size(); ++e) layer.whole[e] += row.counts[e];
  layer.tokens += tokens;
  if (header.has_steps) add(layer.by_step, row.step, row, tokens);
  if (header.has_tags) add(layer.by_tag, row.tag, row, tokens);
}

GroupCounts group_counts(const Grouped& groups, int experts) {
  GroupCounts out;
  out.experts = experts;
  for (const auto& [group, counts] : groups.counts) {
    out.tokens.push_back(groups.tokens.at(group));
    out.counts.insert(out.counts.end(), counts.begin(), counts.end());
  }
  return out;
}

// Each histogram as one batch: its tokens, told apart no further.
void add_step_batches(const GroupCounts& steps, int layer, MetricRows& rows) {
  std::vector<double> ratios;
  double distinct = 0;
  for (std::size_t g = 0; g < steps.groups(); ++g) {
    std::int64_t sum = 0;
    std::int64_t most = 0;
    for (const std::int64_t c : steps.of(g)) {
      sum += c;
      most = std::max(most, c);
      distinct += c > 0 ? 1 : 0;
    }
    if (sum > 0)
      ratios.push_back(static_cast<double>(most) * steps.experts / static_cast<double>(sum));
  }
  if (ratios.empty()) return;
  const BatchFigures figures = batch_figures(std::move(ratios), distinct);
  rows.add("batch_max_over_mean", "steps", layer, figures.max_over_mean);
  rows.add("batch_max_over_mean_p95", "steps", layer, figures.max_over_mean_p95);
  rows.add("batch_distinct_experts", "steps", layer, figures.distinct_experts);
}

// Which histograms a range keeps: by tag, and by part of the recorded steps.
class RangeFilter {
 public:
  RangeFilter(const std::string& path, const TraceRange& range) {
    TraceReader reader(path);
    const TraceHeader& header = reader.header();
    if (!range.tag.empty()) tag_ = tag_number(reader, range.tag);
    if (range.parts == 1) return;
    if (!header.has_steps) {
      throw Error(Place{path}, "counts without steps cannot be cut into parts");
    }
    std::vector<CountRow> histograms;
    while (reader.next(histograms)) {
      for (const CountRow& row : histograms) kept_[row.step] = false;
    }
    const std::vector<bool> dealt = dealt_units(kept_.size(), range);
    std::size_t unit = 0;
    for (auto& [step, kept] : kept_) kept = dealt[unit++];
  }
  bool keeps(const CountRow& row) const {
    if (tag_ && row.tag != *tag_) return false;
    return kept_.empty() || kept_.at(row.step);
  }

 private:
  std::optional<std::uint32_t> tag_;
  std::map<std::int64_t, bool> kept_;  // by step; empty: all
};

void check_asked(const std::string& path, const MetricOptions& options) {
  for (const MetricFamily& family : metric_families()) {
    if (family.from_counts || options.families.empty() || !wanted(options, family.name)) continue;
    throw Error(
        Place{path}, fmt::format("a trace of counts cannot show '{}'", family.name),
        "it knows no tokens: popularity, batches (steps), clustering, drift and balance remain");
  }
}

}  // namespace

TraceMetrics measure_counts(const std::string& path, const MetricOptions& options,
                            const TraceRange& range) {
  check_asked(path, options);
  TraceReader reader(path);
  const TraceHeader& header = reader.header();
  const RangeFilter filter(path, range);
  std::vector<CountedLayer> layers(static_cast<std::size_t>(header.layers()));
  std::vector<CountRow> histograms;
  std::size_t counters = 0;
  while (reader.next(histograms)) {
    for (const CountRow& row : histograms) {
      if (!filter.keeps(row)) continue;
      counters += 2 * row.counts.size();
      if (counters > kMostCounters) {
        throw Error(Place{path}, "the metrics of so many histograms need more than 1 GiB",
                    "ask for popularity alone, or cut the trace");
      }
      read_row(row, header, layers[static_cast<std::size_t>(row.layer)]);
    }
  }
  MetricRows rows;
  for (int layer = 0; layer < header.layers(); ++layer) {
    const CountedLayer& counted = layers[static_cast<std::size_t>(layer)];
    if (counted.whole.empty()) continue;
    const int experts = header.experts[static_cast<std::size_t>(layer)];
    if (wanted(options, "popularity")) add_popularity(counted.whole, counted.tokens, layer, rows);
    if (wanted(options, "balance")) {
      TraceBalance balance(experts);
      balance.add_counts(counted.whole, counted.tokens);
      add_balance(balance, layer, rows);
    }
    const GroupCounts steps = group_counts(counted.by_step, experts);
    const GroupCounts tags = group_counts(counted.by_tag, experts);
    if (wanted(options, "batches")) add_step_batches(steps, layer, rows);
    if (wanted(options, "clustering")) {
      add_clustering(steps, "steps", layer, rows);
      add_clustering(tags, "tags", layer, rows);
    }
    if (wanted(options, "drift")) add_drift(steps, "steps", layer, options.seed, rows);
  }
  return rows.take();
}

}  // namespace sim
