#include "traces/metrics/trace_metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "sim/core/error.h"
#include "sim/input/suggestion.h"
#include "traces/metrics/families.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

using Measure = void (*)(const LayerInput& in, MetricRows& rows);

// One line per family; `measure` is null for srp, which needs all layers at its end.
struct FamilyEntry {
  MetricFamily family;
  Measure measure;
};
constexpr std::array kFamilies = {
    FamilyEntry{{"popularity", "how unevenly experts are chosen over the whole trace", true},
                measure_popularity},
    FamilyEntry{{"batches", "max/mean and distinct experts of batches, by how they form", true},
                measure_batches},
    FamilyEntry{{"srp", "how well a fixed set predicts m tokens (arXiv 2505.16056)", false},
                nullptr},
    FamilyEntry{{"cache", "hit rates of expert caches: lru, lfu, fixed, SCH, belady", false},
                measure_caches},
    FamilyEntry{{"locality", "experts shared with an earlier token, by lag", false},
                measure_locality},
    FamilyEntry{{"layers", "what a choice says about the next layer's", false}, measure_layers},
    FamilyEntry{{"pairs", "co-activation inside a token against independence", false},
                measure_pairs},
    FamilyEntry{{"destinations", "distinct ranks and nodes per token, by EP degree", false},
                measure_destinations},
    FamilyEntry{{"clustering", "popularity between requests, steps, tags against sampling", true},
                measure_clustering},
    FamilyEntry{{"balance", "balance terms of training that a trace shows", true}, measure_balance},
    FamilyEntry{{"drift", "popularity early against late", true}, measure_drift},
};

constexpr auto kFamilyList = [] {
  std::array<MetricFamily, kFamilies.size()> list{};
  for (std::size_t i = 0; i < list.size(); ++i) list[i] = kFamilies[i].family;
  return list;
}();

void check_families(const MetricOptions& options) {
  std::vector<std::string> names;
  for (const MetricFamily& family : kFamilyList) names.emplace_back(family.name);
  for (const std::string& asked : options.families) {
    if (std::find(names.begin(), names.end(), asked) != names.end()) continue;
    throw Error(fmt::format("no family of metrics is called '{}'", asked), suggest(asked, names));
  }
}

std::vector<std::pair<std::string, Batches>> form_batches(const TokenTable& table,
                                                          const MetricOptions& options) {
  std::vector<std::pair<std::string, Batches>> all;
  if (!wanted(options, "batches")) return all;
  if (table.header().has_steps) all.emplace_back("steps", step_batches(table.sequences()));
  const auto add = [&](const char* kind, int size, Batches batches) {
    if (batches.count() == 0) return;
    all.emplace_back(fmt::format("{} B={}", kind, size), std::move(batches));
  };
  for (const int size : options.batches) {
    add("requests", size, request_batches(table.sequences(), size, options.seed));
  }
  for (const int size : options.batches) {
    add("shuffled", size, shuffled_batches(table.tokens(), size, options.seed));
  }
  return all;
}

}  // namespace

std::span<const MetricFamily> metric_families() { return kFamilyList; }

bool wanted(const MetricOptions& options, std::string_view family) {
  return options.families.empty() || std::find(options.families.begin(), options.families.end(),
                                               family) != options.families.end();
}

const MetricRow* TraceMetrics::find(std::string_view metric, std::string_view parameter,
                                    std::optional<int> layer) const {
  for (const MetricRow& row : rows) {
    if (row.metric == metric && row.parameter == parameter && row.layer == layer) return &row;
  }
  return nullptr;
}

TraceMetrics measure_tokens(const TokenTable& table, const MetricOptions& options) {
  check_families(options);
  const auto batches = form_batches(table, options);
  const int layers = table.header().layers();
  const bool look_ahead = wanted(options, "layers");
  MetricRows rows;
  ModelWindows windows;
  LayerTokens tokens = table.layer(0);
  for (int layer = 0; layer < layers; ++layer) {
    LayerTokens next;
    const bool last = layer + 1 == layers;
    if (look_ahead && !last) next = table.layer(layer + 1);
    const LayerInput in{table, options, batches,
                        layer, tokens,  look_ahead && !last ? &next : nullptr};
    for (const FamilyEntry& entry : kFamilies) {
      if (!wanted(options, entry.family.name)) continue;
      if (entry.measure != nullptr) {
        entry.measure(in, rows);
      } else {
        measure_srp(in, windows, rows);
      }
    }
    if (!last) tokens = look_ahead ? std::move(next) : table.layer(layer + 1);
  }
  measure_model_srp(options, windows, rows);
  return rows.take();
}

TraceMetrics measure_trace(const std::string& path, const MetricOptions& options,
                           const TraceRange& range) {
  check_families(options);
  if (TraceReader(path).header().kind == TraceKind::kCounts) {
    return measure_counts(path, options, range);
  }
  return measure_tokens(TokenTable(path, range), options);
}

std::vector<MetricPair> beside(const TraceMetrics& first, const TraceMetrics& second) {
  std::vector<MetricPair> pairs;
  for (const MetricRow& row : first.rows) {
    const MetricRow* other = second.find(row.metric, row.parameter, row.layer);
    if (other == nullptr) continue;
    MetricPair pair{row.metric, row.parameter, row.layer, row.value, other->value, {}};
    if (row.value != 0) pair.relative = other->value / row.value - 1;
    pairs.push_back(std::move(pair));
  }
  return pairs;
}

}  // namespace sim
