// How unevenly experts are chosen: per layer over a whole trace, per tag, or per (step, layer).
//
// The definitions are those of routing papers: over the experts of one layer, with c the choices of
// an expert and m their mean,
//   max_over_mean = max c / m                 1: balanced
//   cv            = sqrt(mean (c - m)^2) / m  population standard deviation
//   gini          = sum |ci - cj| / (2 n^2 m) 0: balanced, 1 - 1/n: one expert takes all
//   entropy       = -sum p ln p / ln n        1: balanced, 0: one expert takes all
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "traces/trace_format.h"

namespace sim {

struct Imbalance {
  std::int64_t choices = 0;
  double max_over_mean = 0;  // all figures are 0 when there are no choices
  double cv = 0;
  double gini = 0;
  double normalised_entropy = 0;  // 1 when there is one expert
  int zero_experts = 0;
};

// O(n log n) in the number of experts. REQUIRES: counts are not negative.
Imbalance imbalance(std::span<const std::int64_t> counts);

// Adds the choices of one layer of a chunk to counts[expert]. REQUIRES: counts has an entry for
// each expert of the layer. About 1 ns per two choices of one byte.
void count_choices(const TokenChunk& chunk, int layer, std::span<std::int64_t> counts);

enum class StatisticsBy { kWhole, kTag, kStep };

struct LayerStatistics {
  int layer = 0;         // routed layer
  int layer_number = 0;  // the model's own number
  std::optional<std::int64_t> step;
  std::string tag;          // "" unless by tag
  std::int64_t tokens = 0;  // 0: the trace does not say
  int experts = 0;
  double choices_per_token = 0;  // 0: tokens not known
  std::vector<std::int64_t> counts;
  Imbalance imbalance;
};

// In the order of step, then tag (as first seen in the file), then layer. Over the whole trace, a
// trace of counts leaves out tags whose choices per token are not top-k (OLMoE's top-1 counts
// beside its top-8 counts): a sum of both means nothing. Throws Error: a damaged file, by step
// without recorded steps, by tag without tags, or so many steps that the counters need more than 1
// GiB.
std::vector<LayerStatistics> layer_statistics(const std::string& path, StatisticsBy by);

// What `simulate trace info` shows.
struct TraceInfo {
  std::string path;
  TraceHeader header;
  std::int64_t rows = 0;     // tokens, or histograms
  std::int64_t choices = 0;  // of all tokens, or the sum of all counts
  std::uint64_t file_bytes = 0;
  double bytes_per_choice = 0;  // 0 for counts
  std::int64_t chunks = 0;
  std::vector<std::string> tags;
  // Least and greatest of the steps (or of the requests); absent when there is no row.
  std::optional<std::int64_t> first_step;
  std::optional<std::int64_t> last_step;
};

// Reads header and index only. Throws Error.
TraceInfo read_info(const std::string& path);

}  // namespace sim
