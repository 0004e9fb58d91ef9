// simulate model: show a model's operators with flops and bytes; import a config.json.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "analysis/summary.h"
#include "models/config_json.h"
#include "models/describe.h"
#include "models/model_reader.h"
#include "models/operators.h"
#include "sim/app/catalog.h"
#include "sim/app/commands/commands.h"
#include "sim/app/commands/model_training.h"
#include "sim/core/error.h"
#include "sim/workloads/step_plan.h"

namespace sim {
namespace {

struct ShowArguments {
  std::string model;
  std::int64_t tokens = 128;
  std::int64_t context = 4096;
  std::string phase = "decode";
  int tp = 1;
  bool json = false;
  bool training = false;
  TrainingQuestion question;
};

struct Line {
  PlacedOperator placed;
  int last_layer = -1;  // the same operators stand in every layer up to here
};

// Runs of layers with the same operators become one line each.
std::vector<Line> fold_layers(const std::vector<PlacedOperator>& operators) {
  std::vector<std::vector<PlacedOperator>> layers;
  for (const PlacedOperator& placed : operators) {
    if (layers.empty() || layers.back().front().layer != placed.layer) layers.emplace_back();
    layers.back().push_back(placed);
  }
  const auto same = [](const std::vector<PlacedOperator>& a, const std::vector<PlacedOperator>& b) {
    return a.front().layer >= 0 && a.size() == b.size() &&
           std::equal(a.begin(), a.end(), b.begin(),
                      [](const PlacedOperator& x, const PlacedOperator& y) {
                        return x.op.name == y.op.name && x.op.flops == y.op.flops &&
                               x.op.weight_bytes == y.op.weight_bytes &&
                               x.op.activation_bytes == y.op.activation_bytes;
                      });
  };
  std::vector<Line> lines;
  for (std::size_t l = 0; l < layers.size();) {
    std::size_t end = l + 1;
    while (end < layers.size() && same(layers[l], layers[end])) ++end;
    for (const PlacedOperator& placed : layers[l])
      lines.push_back({placed, layers[end - 1].front().layer});
    l = end;
  }
  return lines;
}

void show(const ShowArguments& arguments) {
  const Catalog catalog;
  const MoeModel model = read_model_or_config(catalog.model_file(arguments.model, ""));
  if (arguments.training) {
    TrainingQuestion question = arguments.question;
    question.tp = arguments.tp;
    return show_training(model, question, arguments.json);
  }
  const Phase phase = arguments.phase == "decode" ? Phase::kDecode : Phase::kPrefill;
  RankSequences sequences;
  if (phase == Phase::kDecode) {
    sequences.new_tokens.assign(static_cast<std::size_t>(arguments.tokens), 1);
    sequences.context.assign(static_cast<std::size_t>(arguments.tokens), arguments.context);
  } else {
    sequences.new_tokens = {arguments.tokens};
    sequences.context = {arguments.tokens};
  }
  const TokenBatch batch = batch_of(phase, {sequences}, 0, 1);
  const std::vector<PlacedOperator> operators = all_operators(model, batch, arguments.tp);
  if (arguments.json) {
    nlohmann::ordered_json json = nlohmann::ordered_json::array();
    for (const PlacedOperator& placed : operators) {
      json.push_back({{"layer", placed.layer},
                      {"block", placed.block},
                      {"operator", placed.op.name},
                      {"kind", to_text(placed.op.kind)},
                      {"compute", to_text(placed.op.compute)},
                      {"flops", placed.op.flops.count()},
                      {"weight_bytes", placed.op.weight_bytes.count()},
                      {"activation_bytes", placed.op.activation_bytes.count()}});
    }
    std::cout << json.dump(2) << "\n";
    return;
  }
  std::cout << describe(model) << "\n"
            << fmt::format(
                   "Operators of one step: {} tokens, {}{}, tp {}; routed experts as if all were "
                   "on this rank\n",
                   arguments.tokens, arguments.phase,
                   phase == Phase::kDecode ? fmt::format(" with context {}", arguments.context)
                                           : "",
                   arguments.tp);
  TextTable table;
  for (const char* name : {"layers", "operator", "kind", "compute"}) table.add_column(name);
  for (const char* name : {"GFLOP", "weights", "activations"})
    table.add_column(name, Align::kRight);
  for (const Line& line : fold_layers(operators)) {
    const Operator& op = line.placed.op;
    const int first = line.placed.layer;
    table.add_row({first < 0                  ? ""
                   : first == line.last_layer ? std::to_string(first)
                                              : fmt::format("{}-{}", first, line.last_layer),
                   op.name, std::string(to_text(op.kind)), std::string(to_text(op.compute)),
                   fmt::format("{:.4g}", op.flops.count() * 1e-9), format_bytes(op.weight_bytes),
                   format_bytes(op.activation_bytes)});
  }
  std::cout << table.text();
}

void import(const std::string& file, const std::string& out) {
  const std::string text = to_yaml(read_model_or_config(file));
  if (out.empty()) {
    std::cout << text;
    return;
  }
  std::ofstream stream(out);
  stream << text;
  stream.close();
  if (!stream) throw Error(Place{out}, "this file cannot be written");
}

}  // namespace

void attach_model(CLI::App& app) {
  CLI::App* command = app.add_subcommand("model", "look at a model, or import one: show | import");
  command->require_subcommand(1);
  CLI::App* shown =
      command->add_subcommand("show", "parameters, and every operator with flops and bytes");
  auto arguments = std::make_shared<ShowArguments>();
  shown
      ->add_option("model", arguments->model,
                   "a name from `simulate list models`, a YAML file or a config.json")
      ->required();
  CLI::Option* training = shown->add_flag(
      "--training", arguments->training,
      "instead: what a training step computes, and what it keeps for its backward pass");
  shown->add_option("--tokens", arguments->tokens, "tokens of the step")
      ->excludes(training)
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  shown->add_option("--context", arguments->context, "decode: tokens attended to")
      ->excludes(training)
      ->check(CLI::Range(1, 1 << 24))
      ->capture_default_str();
  shown->add_option("--phase", arguments->phase, "decode | prefill")
      ->excludes(training)
      ->check(CLI::IsMember({"decode", "prefill"}))
      ->capture_default_str();
  shown->add_option("--tp", arguments->tp, "tensor parallelism")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  shown
      ->add_option("--sequence", arguments->question.sequence_length,
                   "training: tokens of a sequence")
      ->needs(training)
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  shown
      ->add_option("--precision", arguments->question.precision,
                   "training: bf16 | fp8; the model's own when left out")
      ->needs(training);
  shown
      ->add_option("--recompute", arguments->question.recompute,
                   "training: none | full | modules, with commas between")
      ->needs(training)
      ->capture_default_str();
  shown->add_flag("--json", arguments->json, "one row per operator as JSON");
  shown->callback([arguments] { show(*arguments); });
  CLI::App* imported = command->add_subcommand("import", "a Hugging Face config.json to our YAML");
  auto file = std::make_shared<std::string>();
  auto out = std::make_shared<std::string>();
  imported->add_option("file", *file, "config.json")->required();
  imported->add_option("-o,--out", *out, "where to write; standard output when left out");
  imported->callback([file, out] { import(*file, *out); });
}

}  // namespace sim
