// simulate trace stats: how unevenly and how steadily a trace chooses its experts; two traces side
// by side.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "analysis/summary.h"
#include "sim/app/catalog.h"
#include "sim/app/commands/trace.h"
#include "sim/core/error.h"
#include "traces/metrics/trace_metrics.h"
#include "traces/statistics.h"

namespace sim {
namespace {

struct StatsOptions {
  std::string file;
  std::string by = "whole";
  std::vector<std::string> metrics;
  std::string beside;
  bool halves = false;
  std::uint64_t seed = 1;
  bool json = false;
};

// ---- Imbalance per layer, step or tag: reads chunk by chunk. ----

void print_imbalance_json(const std::vector<LayerStatistics>& rows) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  for (const LayerStatistics& row : rows) {
    nlohmann::ordered_json object = {{"layer", row.layer_number}};
    if (row.step) object["step"] = *row.step;
    if (!row.tag.empty()) object["tag"] = row.tag;
    object["tokens"] = row.tokens;
    object["experts"] = row.experts;
    object["max_over_mean"] = row.imbalance.max_over_mean;
    object["cv"] = row.imbalance.cv;
    object["gini"] = row.imbalance.gini;
    object["normalised_entropy"] = row.imbalance.normalised_entropy;
    object["zero_experts"] = row.imbalance.zero_experts;
    all.push_back(std::move(object));
  }
  std::cout << all.dump(2) << "\n";
}

void print_imbalance(const std::string& file, const StatsOptions& options) {
  const StatisticsBy by = options.by == "step"  ? StatisticsBy::kStep
                          : options.by == "tag" ? StatisticsBy::kTag
                                                : StatisticsBy::kWhole;
  const std::vector<LayerStatistics> rows = layer_statistics(file, by);
  if (options.json) {
    print_imbalance_json(rows);
    return;
  }
  TextTable table;
  table.add_column("layer", Align::kRight);
  if (by == StatisticsBy::kStep) table.add_column("step", Align::kRight);
  if (by == StatisticsBy::kTag) table.add_column("tag");
  for (const char* name : {"tokens", "experts", "max/mean", "cv", "gini", "entropy", "unused"})
    table.add_column(name, Align::kRight);
  for (const LayerStatistics& row : rows) {
    std::vector<std::string> cells = {std::to_string(row.layer_number)};
    if (by == StatisticsBy::kStep) cells.push_back(row.step ? std::to_string(*row.step) : "");
    if (by == StatisticsBy::kTag) cells.push_back(row.tag);
    const Imbalance& i = row.imbalance;
    for (std::string cell :
         {std::to_string(row.tokens), std::to_string(row.experts),
          fmt::format("{:.4f}", i.max_over_mean), fmt::format("{:.4f}", i.cv),
          fmt::format("{:.4f}", i.gini), fmt::format("{:.4f}", i.normalised_entropy),
          std::to_string(i.zero_experts)}) {
      cells.push_back(std::move(cell));
    }
    table.add_row(std::move(cells));
  }
  std::cout << table.text();
}

// ---- The metrics of tokens. ----

std::string number(double value) { return fmt::format("{:.4g}", value); }

// Rows of all layers with their least and greatest layer, or (by layer) a row per layer.
void add_metric_rows(const TraceMetrics& metrics, const TraceHeader& header, const std::string& tag,
                     const StatsOptions& options, TextTable& table) {
  for (std::size_t i = 0; i < metrics.rows.size(); ++i) {
    const MetricRow& row = metrics.rows[i];
    if (options.by == "layer") {
      if (!row.layer) continue;
      table.add_row({row.metric, row.parameter, std::to_string(header.layer_number(*row.layer)),
                     number(row.value)});
      continue;
    }
    if (row.layer) continue;
    std::vector<double> layers;
    for (std::size_t j = i + 1; j < metrics.rows.size() && metrics.rows[j].layer; ++j)
      layers.push_back(metrics.rows[j].value);
    std::vector<std::string> cells = {row.metric, row.parameter, number(row.value)};
    if (options.by == "tag") cells.insert(cells.begin(), tag);
    if (layers.empty()) {
      cells.insert(cells.end(), {"", ""});
    } else {
      cells.push_back(number(*std::min_element(layers.begin(), layers.end())));
      cells.push_back(number(*std::max_element(layers.begin(), layers.end())));
    }
    table.add_row(std::move(cells));
  }
}

void add_metric_json(const TraceMetrics& metrics, const TraceHeader& header, const std::string& tag,
                     nlohmann::ordered_json& all) {
  for (const MetricRow& row : metrics.rows) {
    nlohmann::ordered_json object = {{"metric", row.metric}, {"parameter", row.parameter}};
    if (row.layer) object["layer"] = header.layer_number(*row.layer);
    if (!tag.empty()) object["tag"] = tag;
    object["value"] = row.value;
    all.push_back(std::move(object));
  }
}

void print_metrics(const std::string& file, const MetricOptions& metrics,
                   const StatsOptions& options) {
  const TraceInfo info = read_info(file);
  if (options.by == "step") {
    throw Error("metrics are not taken by step", "use --by layer or --by tag, or leave --by out");
  }
  std::vector<std::string> tags = {""};
  if (options.by == "tag") tags = info.tags;
  if (tags.empty()) throw Error(Place{file}, "this trace has no tags", "ask for the whole trace");
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  TextTable table;
  if (options.by == "tag") table.add_column("tag");
  table.add_column("metric");
  table.add_column("of");
  for (const char* name : options.by == "layer"
                              ? std::vector<const char*>{"layer", "value"}
                              : std::vector<const char*>{"all layers", "least", "most"})
    table.add_column(name, Align::kRight);
  for (const std::string& tag : tags) {
    TraceRange range;
    range.tag = tag;
    const TraceMetrics found = measure_trace(file, metrics, range);
    if (options.json) {
      add_metric_json(found, info.header, tag, all);
    } else {
      add_metric_rows(found, info.header, tag, options, table);
    }
  }
  std::cout << (options.json ? all.dump(2) + "\n" : table.text());
}

void print_beside(const TraceMetrics& first, const TraceMetrics& second, const TraceHeader& header,
                  const StatsOptions& options) {
  const std::vector<MetricPair> pairs = beside(first, second);
  if (options.json) {
    nlohmann::ordered_json all = nlohmann::ordered_json::array();
    for (const MetricPair& pair : pairs) {
      nlohmann::ordered_json object = {{"metric", pair.metric}, {"parameter", pair.parameter}};
      if (pair.layer) object["layer"] = header.layer_number(*pair.layer);
      object["first"] = pair.first;
      object["second"] = pair.second;
      if (pair.relative) object["relative"] = *pair.relative;
      all.push_back(std::move(object));
    }
    std::cout << all.dump(2) << "\n";
    return;
  }
  TextTable table;
  table.add_column("metric");
  table.add_column("of");
  const bool by_layer = options.by == "layer";
  if (by_layer) table.add_column("layer", Align::kRight);
  for (const char* name : {"first", "second", "difference"}) table.add_column(name, Align::kRight);
  for (const MetricPair& pair : pairs) {
    if (pair.layer.has_value() != by_layer) continue;
    std::vector<std::string> cells = {pair.metric, pair.parameter};
    if (by_layer) cells.push_back(std::to_string(header.layer_number(*pair.layer)));
    cells.push_back(number(pair.first));
    cells.push_back(number(pair.second));
    cells.push_back(pair.relative ? fmt::format("{:+.1f} %", 100 * *pair.relative) : "");
    table.add_row(std::move(cells));
  }
  std::cout << table.text();
}

void stats(const StatsOptions& options) {
  const Catalog catalog;
  const std::string file = catalog.trace_file(options.file, "");
  const bool two = options.halves || !options.beside.empty();
  if (options.metrics.empty() && !two) return print_imbalance(file, options);  // whole is by layer
  MetricOptions metrics;
  metrics.seed = options.seed;
  if (options.metrics != std::vector<std::string>{"all"}) metrics.families = options.metrics;
  if (!two) return print_metrics(file, metrics, options);
  if (options.by == "step" || options.by == "tag") {
    throw Error("two traces are not compared by " + options.by,
                "use --by layer, or leave --by out: all layers together");
  }
  TraceRange first;
  TraceRange second;
  if (options.halves) {
    first.parts = second.parts = 2;
    first.seed = second.seed = options.seed;
    second.part = 1;
  }
  const std::string other = options.halves ? file : catalog.trace_file(options.beside, "");
  print_beside(measure_trace(file, metrics, first), measure_trace(other, metrics, second),
               read_info(file).header, options);
}

}  // namespace

void attach_trace_stats(CLI::App& parent) {
  CLI::App* command = parent.add_subcommand(
      "stats", "imbalance per layer, step or tag; all other metrics; two traces side by side");
  std::string families;
  for (const MetricFamily& family : metric_families())
    families += (families.empty() ? "" : ", ") + std::string(family.name);
  auto options = std::make_shared<StatsOptions>();
  command->add_option("file", options->file, "a .moetrace")->required();
  command->add_option("--by", options->by, "whole | layer | step | tag")
      ->check(CLI::IsMember({"whole", "layer", "step", "tag"}))
      ->capture_default_str();
  command->add_option("--metrics", options->metrics, "all, or some of: " + families)
      ->delimiter(',');
  CLI::Option* beside =
      command->add_option("--beside", options->beside, "a second .moetrace, beside the first");
  command
      ->add_flag("--halves", options->halves,
                 "one half of the requests (or steps) beside the other")
      ->excludes(beside);
  command->add_option("--seed", options->seed, "of batches, halves and what chance gives")
      ->check(CLI::Range(std::uint64_t{0}, std::uint64_t{9'000'000'000'000'000}))
      ->capture_default_str();
  command->add_flag("--json", options->json, "as JSON");
  command->callback([options] { stats(*options); });
}

}  // namespace sim
