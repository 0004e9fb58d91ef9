// simulate trace stats: how unevenly and how steadily a trace chooses its experts.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "analysis/summary.h"
#include "sim/app/catalog.h"
#include "sim/app/commands/trace.h"
#include "traces/statistics.h"

namespace sim {
namespace {

void stats(const std::string& file, StatisticsBy by, bool json) {
  const Catalog catalog;
  const std::vector<LayerStatistics> rows = layer_statistics(catalog.trace_file(file, ""), by);
  if (json) {
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

}  // namespace

void attach_trace_stats(CLI::App& parent) {
  CLI::App* command =
      parent.add_subcommand("stats", "imbalance per layer, or per layer and step or tag");
  auto file = std::make_shared<std::string>();
  auto by = std::make_shared<std::string>("whole");
  auto json = std::make_shared<bool>(false);
  command->add_option("file", *file, "a .moetrace")->required();
  command->add_option("--by", *by, "whole | step | tag")
      ->check(CLI::IsMember({"whole", "step", "tag"}))
      ->capture_default_str();
  command->add_flag("--json", *json, "as JSON");
  command->callback([file, by, json] {
    stats(*file,
          *by == "step"  ? StatisticsBy::kStep
          : *by == "tag" ? StatisticsBy::kTag
                         : StatisticsBy::kWhole,
          *json);
  });
}

}  // namespace sim
