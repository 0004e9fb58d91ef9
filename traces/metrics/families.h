// What the families of metrics share: the rows they add to, and what is prepared once per trace.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "traces/gating/balance_terms.h"
#include "traces/metrics/batches.h"
#include "traces/metrics/clustering.h"
#include "traces/metrics/srp.h"
#include "traces/metrics/trace_metrics.h"

namespace sim {

// Values by metric and parameter, in the order in which they first came.
class MetricRows {
 public:
  void add(std::string_view metric, const std::string& parameter, std::optional<int> layer,
           double value);
  // Rows of all layers first (the mean over the layers where a family gave none), then each layer.
  TraceMetrics take() const;

 private:
  struct Series {
    std::string metric;
    std::string parameter;
    std::optional<double> whole;
    std::vector<std::pair<int, double>> layers;
  };
  std::vector<Series> series_;
};

// Rows of popularity, of one histogram over experts; tokens 0: not known.
void add_popularity(const std::vector<std::int64_t>& counts, std::int64_t tokens, int layer,
                    MetricRows& rows);
// Rows of the balance terms that the trace shows.
void add_balance(const TraceBalance& balance, int layer, MetricRows& rows);
// Rows of clustering for one way of grouping ("requests", "steps", "tags"); none when there are
// fewer than two groups.
void add_clustering(const GroupCounts& groups, const std::string& grouping, int layer,
                    MetricRows& rows);
void add_drift(const GroupCounts& groups, const std::string& grouping, int layer,
               std::uint64_t seed, MetricRows& rows);

// One layer of a trace of tokens, for the families.
struct LayerInput {
  const TokenTable& table;
  const MetricOptions& options;
  const std::vector<std::pair<std::string, Batches>>& batches;  // by the name of their row
  int layer = 0;
  const LayerTokens& tokens;
  const LayerTokens* next = nullptr;  // the layer after this one; null after the last
};

// Windows of all layers, by index into MetricOptions::windows: for the SRP of the whole model.
using ModelWindows = std::vector<WindowHistogram>;

void measure_popularity(const LayerInput& in, MetricRows& rows);
void measure_batches(const LayerInput& in, MetricRows& rows);
void measure_caches(const LayerInput& in, MetricRows& rows);
void measure_locality(const LayerInput& in, MetricRows& rows);
void measure_layers(const LayerInput& in, MetricRows& rows);
void measure_pairs(const LayerInput& in, MetricRows& rows);
void measure_destinations(const LayerInput& in, MetricRows& rows);
void measure_clustering(const LayerInput& in, MetricRows& rows);
void measure_drift(const LayerInput& in, MetricRows& rows);
void measure_balance(const LayerInput& in, MetricRows& rows);
void measure_srp(const LayerInput& in, ModelWindows& windows, MetricRows& rows);
void measure_model_srp(const MetricOptions& options, const ModelWindows& windows, MetricRows& rows);

// Does options.families ask for this one?
bool wanted(const MetricOptions& options, std::string_view family);

// The families of a trace of counts.
TraceMetrics measure_counts(const std::string& path, const MetricOptions& options,
                            const TraceRange& range);

}  // namespace sim
