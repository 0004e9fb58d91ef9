// simulate trace: make, import and look at routing traces.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "analysis/summary.h"
#include "sim/app/catalog.h"
#include "sim/app/commands/commands.h"
#include "sim/core/error.h"
#include "traces/import/import.h"
#include "traces/statistics.h"
#include "traces/synthetic/synthetic.h"

namespace sim {
namespace {

struct SynthArguments {
  std::string out;
  std::string model = "synthetic";
  double zipf = 0;
  int layers = 24, experts = 32, top_k = 4, steps = 0, ranks = 8;
  std::int64_t tokens_per_rank = 64, requests = 0;
  std::vector<std::int64_t> positions = {16, 64};
  double repeat = 0;
  std::uint64_t seed = 1;
};

void synth(const SynthArguments& arguments) {
  SyntheticSpec spec;
  spec.kind = arguments.zipf > 0 ? SyntheticKind::kZipf : SyntheticKind::kUniform;
  spec.exponent = arguments.zipf;
  SyntheticTrace trace;
  trace.model = arguments.model;
  trace.experts.assign(static_cast<std::size_t>(arguments.layers), arguments.experts);
  trace.top_k = arguments.top_k;
  if (arguments.requests > 0) {
    trace.requests = arguments.requests;
    trace.min_positions = arguments.positions[0];
    trace.max_positions = arguments.positions[1];
    trace.repeat = arguments.repeat;
  } else {
    trace.steps = arguments.steps;
    trace.tokens_per_rank.assign(static_cast<std::size_t>(arguments.ranks),
                                 arguments.tokens_per_rank);
  }
  write_synthetic(spec, trace, arguments.seed, arguments.out);
  const TraceInfo info = read_info(arguments.out);
  std::cout << fmt::format("{}: {} tokens, {} bytes ({:.2f} per choice)\n", arguments.out,
                           info.rows, info.file_bytes, info.bytes_per_choice);
}

void attach_synth(CLI::App& parent) {
  CLI::App* command = parent.add_subcommand(
      "synth", "write a synthetic trace: steps and ranks, or requests and positions");
  auto a = std::make_shared<SynthArguments>();
  command->add_option("-o,--out", a->out, "the .moetrace to write")->required();
  command->add_option("--model", a->model, "name in the header")->capture_default_str();
  command->add_option("--zipf", a->zipf, "exponent of the experts' popularity; 0: uniform")
      ->check(CLI::Range(0.0, 20.0))
      ->capture_default_str();
  command->add_option("--layers", a->layers, "routed layers")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option("--experts", a->experts, "experts per layer")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command->add_option("--top-k", a->top_k, "choices per token")
      ->check(CLI::Range(1, 255))
      ->capture_default_str();
  auto* steps =
      command->add_option("--steps", a->steps, "steps of --tokens-per-rank tokens on --ranks ranks")
          ->check(CLI::Range(1, 1 << 20));
  command->add_option("--ranks", a->ranks, "source ranks")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--tokens-per-rank", a->tokens_per_rank, "tokens")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  auto* requests = command->add_option("--requests", a->requests, "requests instead of steps")
                       ->check(CLI::Range(1, 1 << 24));
  command->add_option("--positions", a->positions, "least and most tokens of a request")
      ->expected(2)
      ->check(CLI::Range(1, 1 << 24));
  command
      ->add_option("--repeat", a->repeat,
                   "chance that a token keeps the experts of the one before it")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  command->add_option("--seed", a->seed, "seed")->capture_default_str();
  steps->excludes(requests);
  command->callback([a, steps, requests] {
    if (steps->count() + requests->count() == 0)
      throw Error("trace synth needs --steps or --requests");
    synth(*a);
  });
}

void attach_import(CLI::App& parent) {
  struct Arguments {
    std::string file, out;
    ImportOptions options;
  };
  CLI::App* command = parent.add_subcommand(
      "import", "a foreign routing file to .moetrace (`simulate list policies` names the formats)");
  auto a = std::make_shared<Arguments>();
  command->add_option("file", a->file, "the file, gzipped or not")->required();
  command->add_option("-o,--out", a->out, "the .moetrace to write")->required();
  command->add_option("--format", a->options.format, "when it is not recognised");
  command->add_option("--model", a->options.model, "the model it was recorded with");
  command->add_option("--experts", a->options.experts,
                      "experts per layer, for a model we do not know");
  command->add_option("--top-k", a->options.top_k, "choices per token, for a model we do not know");
  command->callback([a] {
    const ImportReport report = import_trace(a->file, a->out, a->options);
    std::cout << fmt::format("{}: {} rows of {} read as {}\n", a->out, report.rows, report.model,
                             report.format);
    for (const std::string& note : report.notes) std::cout << "note: " << note << "\n";
  });
}

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

void attach_info(CLI::App& parent) {
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

void attach_stats(CLI::App& parent) {
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

}  // namespace

void attach_trace(CLI::App& app) {
  CLI::App* command = app.add_subcommand("trace", "routing traces: synth | import | info | stats");
  command->require_subcommand(1);
  attach_synth(*command);
  attach_import(*command);
  attach_info(*command);
  attach_stats(*command);
}

}  // namespace sim
