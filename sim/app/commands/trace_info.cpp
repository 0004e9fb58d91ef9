// simulate trace info: what a trace holds and where it is from.
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

nlohmann::ordered_json info_json(const TraceInfo& info) {
  nlohmann::ordered_json json;
  json["path"] = info.path;
  json["model"] = info.header.model;
  json["form"] = info.header.kind == TraceKind::kTokens ? "tokens" : "counts";
  json["layers"] = info.header.layers();
  json["experts"] = info.header.experts;
  json["top_k"] = info.header.top_k;
  json["rows"] = info.rows;
  json["choices"] = info.choices;
  json["file_bytes"] = info.file_bytes;
  json["bytes_per_choice"] = info.bytes_per_choice;
  json["chunks"] = info.chunks;
  json["tags"] = info.tags;
  json["provenance"] = info.header.provenance;
  return json;
}

}  // namespace

void attach_trace_info(CLI::App& parent) {
  CLI::App* command = parent.add_subcommand("info", "what a trace holds and where it is from");
  auto file = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  command->add_option("file", *file, "a .moetrace")->required();
  command->add_flag("--json", *json, "as JSON");
  command->callback([file, json] {
    const Catalog catalog;
    const nlohmann::ordered_json all = info_json(read_info(catalog.trace_file(*file, "")));
    if (*json) {
      std::cout << all.dump(2) << "\n";
      return;
    }
    TextTable table;
    table.add_column("");
    table.add_column("");
    for (const auto& [key, value] : all.items())
      table.add_row({key, value.is_string() ? value.get<std::string>() : value.dump()});
    std::cout << table.text(100);
  });
}

}  // namespace sim
