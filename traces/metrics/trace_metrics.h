// The metrics of a trace as named rows, so that two traces can be put side by side.
//
// metric_families() is the one table of what there is; each family's .cpp says how it is defined.
// A row without a layer is the mean over the layers, unless its family says otherwise.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "traces/metrics/token_table.h"

namespace sim {

struct MetricRow {
  std::string metric;        // "group_srp"
  std::string parameter;     // "m=16"; "" when there is none
  std::optional<int> layer;  // routed layer; absent: all layers
  double value = 0;
  bool operator==(const MetricRow&) const = default;
};

struct TraceMetrics {
  std::vector<MetricRow> rows;
  // Null when there is no such row.
  const MetricRow* find(std::string_view metric, std::string_view parameter = {},
                        std::optional<int> layer = {}) const;
};

struct MetricOptions {
  std::vector<std::string> families;  // names of metric_families(); empty: all
  std::vector<int> windows = {4, 16, 64, 256};
  std::vector<int> batches = {1, 8, 32, 64, 128, 512, 2048};
  std::vector<int> cache_ratios = {1, 2, 4};  // cache size over top-k
  std::vector<int> lags = {1, 2, 4, 8, 16};
  std::vector<int> expert_parallel = {2, 4, 8, 16, 32, 64, 128, 256};
  int ranks_per_node = 8;
  std::uint64_t seed = 1;  // of batches and of what chance alone would give
};

struct MetricFamily {
  std::string_view name;
  std::string_view help;
  bool from_counts;  // what a trace of counts can show too
};
std::span<const MetricFamily> metric_families();

// Throws Error: an unknown family (with a suggestion), families that a trace of counts cannot show,
// and whatever TokenTable throws. Same trace, same options, same rows.
TraceMetrics measure_trace(const std::string& path, const MetricOptions& options = {},
                           const TraceRange& range = {});
TraceMetrics measure_tokens(const TokenTable& table, const MetricOptions& options = {});

// A row that both traces have.
struct MetricPair {
  std::string metric;
  std::string parameter;
  std::optional<int> layer;
  double first = 0;
  double second = 0;
  std::optional<double> relative;  // second / first - 1; absent when first is 0
};
// In the order of `first`; rows of one alone are left out.
std::vector<MetricPair> beside(const TraceMetrics& first, const TraceMetrics& second);

}  // namespace sim
