#include "sim/app/commands/model_training.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "analysis/summary.h"
#include "models/backward.h"
#include "models/describe.h"
#include "models/kept_activations.h"
#include "models/model_flops.h"
#include "models/training_memory.h"
#include "sim/core/error.h"
#include "sim/input/suggestion.h"

namespace sim {
namespace {

TrainingPrecision precision_of(const MoeModel& model, const std::string& text) {
  if (text.empty()) return usual_training_precision(model);
  const std::optional<TrainingPrecision> precision = parse_training_precision(text);
  if (!precision) throw Error(Place{"--precision"}, "'" + text + "' is not bf16 or fp8");
  return *precision;
}

Recompute recompute_of(const std::string& text) {
  Recompute recompute;
  recompute.full = text == "full";
  if (text == "none" || recompute.full) return recompute;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string name = text.substr(begin, end - begin);
    const auto module = parse_recompute_module(name);
    if (!module) {
      std::vector<std::string> known = {"none", "full"};
      for (const std::string_view each : recompute_module_names()) known.emplace_back(each);
      throw Error(Place{"--recompute"}, "'" + name + "' cannot be recomputed",
                  suggest(name, known));
    }
    recompute.modules.push_back(*module);
    begin = end + 1;
  }
  return recompute;
}

// One layer of one rank; the routed experts as if all were on it.
struct LayerRow {
  int first = 0;
  int last = 0;
  std::int64_t parameters = 0;
  double forward = 0;  // flops of all kernels
  double recompute = 0;
  double input_gradient = 0;
  double weight_gradient = 0;
  double kept = 0;          // bytes, without routed rows
  double kept_per_row = 0;  // bytes per routed row that arrived
  std::int64_t rows_per_token = 0;

  bool same(const LayerRow& other) const {
    return parameters == other.parameters && forward == other.forward && kept == other.kept &&
           kept_per_row == other.kept_per_row;
  }
};

double flops_of_all(const std::vector<Operator>& operators) {
  double flops = 0;
  for (const Operator& op : operators) flops += op.flops.count();
  return flops;
}

LayerRow layer_row(const MoeModel& model, int layer, const TrainingQuestion& question,
                   const Recompute& recompute) {
  const TokenBatch batch = one_sequence(question.sequence_length);
  LayerRow row;
  row.first = row.last = layer;
  WeightShare share = whole_model(model, question.tp, 1);
  share.first_layer = layer;
  share.end_layer = layer + 1;
  share.embedding = share.head = false;
  const StageParameters parameters = stage_parameters(model, share);
  row.parameters = parameters.dense + parameters.expert;
  const auto& blocks = model.layers[static_cast<std::size_t>(layer)].blocks;
  for (int block = 0; block < static_cast<int>(blocks.size()); ++block) {
    for (const BlockPart part :
         {BlockPart::kBeforeDispatch, BlockPart::kShared, BlockPart::kAfterCombine}) {
      row.forward += flops_of_all(block_operators(model, layer, block, part, batch, question.tp));
      row.recompute += flops_of_all(
          recomputed_operators(model, layer, block, part, batch, question.tp, recompute));
      row.input_gradient += flops_of_all(
          backward_operators(model, layer, block, part, batch, question.tp, GradientOf::kInput));
      row.weight_gradient += flops_of_all(
          backward_operators(model, layer, block, part, batch, question.tp, GradientOf::kWeight));
    }
    const Block& here = blocks[static_cast<std::size_t>(block)];
    if (here.kind() != BlockKind::kFfn || !here.ffn().routing) continue;
    const BlockId id{layer, block};
    const std::vector<std::int64_t> rows = {batch.tokens * here.ffn().routing->top_k};
    const double experts = flops_of(expert_ffn(model, id, rows, 1)).count();
    row.forward += experts;
    row.input_gradient += experts;
    row.weight_gradient += experts;
    if (experts_again(recompute) >= ExpertsAgain::kForward) row.recompute += experts;
    row.kept_per_row += kept_bytes_per_row(model, id, 1, recompute);
    row.rows_per_token += here.ffn().routing->top_k;
  }
  const KeptBatch kept{batch.tokens, question.tp, question.tp};
  row.kept = static_cast<double>(total(kept_activations(model, layer, kept, recompute)).count());
  return row;
}

std::string giga(double flops) { return fmt::format("{:.4g}", flops * 1e-9); }

std::string bytes_text(double bytes) {
  return format_bytes(Bytes(static_cast<std::int64_t>(bytes)));
}

}  // namespace

void show_training(const MoeModel& given, const TrainingQuestion& question, bool json) {
  const TrainingPrecision precision = precision_of(given, question.precision);
  const Recompute recompute = recompute_of(question.recompute);
  const MoeModel model = training_model(given, precision);
  const double tokens = static_cast<double>(question.sequence_length);
  std::vector<LayerRow> rows;
  for (int layer = 0; layer < static_cast<int>(model.layers.size()); ++layer) {
    const LayerRow row = layer_row(model, layer, question, recompute);
    if (!rows.empty() && rows.back().same(row)) {
      rows.back().last = layer;
    } else {
      rows.push_back(row);
    }
  }
  const TokenFlops flops = token_flops(model, question.sequence_length);
  const TokenFlops full = token_flops(model, question.sequence_length, AttentionCount::kFull);
  if (json) {
    nlohmann::ordered_json layers = nlohmann::ordered_json::array();
    for (const LayerRow& row : rows) {
      layers.push_back({{"first_layer", row.first},
                        {"last_layer", row.last},
                        {"parameters", row.parameters},
                        {"forward_flops", row.forward},
                        {"recompute_flops", row.recompute},
                        {"input_gradient_flops", row.input_gradient},
                        {"weight_gradient_flops", row.weight_gradient},
                        {"kept_bytes", row.kept},
                        {"kept_bytes_per_routed_row", row.kept_per_row},
                        {"routed_rows", row.rows_per_token * question.sequence_length}});
    }
    const nlohmann::ordered_json all = {{"model", model.name},
                                        {"precision", to_text(precision)},
                                        {"sequence_length", question.sequence_length},
                                        {"model_flops_per_token", flops.training()},
                                        {"model_flops_per_token_full_attention", full.training()},
                                        {"matrix_flops_per_token", 3 * flops.matrices},
                                        {"attention_flops_per_token", 3 * flops.attention},
                                        {"layers", layers}};
    std::cout << all.dump(2) << "\n";
    return;
  }
  std::cout << describe(given) << "\n"
            << fmt::format(
                   "Training: a sequence of {} tokens, {}, tp {}, recompute {}; routed experts as "
                   "if all were on this rank\n",
                   question.sequence_length, to_text(precision), question.tp, question.recompute)
            << fmt::format(
                   "Model flops per token, forward and backward: {} G = {} G matrices + {} G "
                   "attention, causal pairs only ({} G with all pairs)\n",
                   giga(flops.training()), giga(3 * flops.matrices), giga(3 * flops.attention),
                   giga(full.training()));
  TextTable table;
  table.add_column("layers");
  for (const char* name : {"parameters", "GFLOP forward", "recomputed", "input gradient",
                           "weight gradient", "kept", "routed rows", "kept per row", "kept in all"})
    table.add_column(name, Align::kRight);
  for (const LayerRow& row : rows) {
    const double arrived = static_cast<double>(row.rows_per_token) * tokens;
    table.add_row({row.first == row.last ? std::to_string(row.first)
                                         : fmt::format("{}-{}", row.first, row.last),
                   fmt::format("{:.4g}", static_cast<double>(row.parameters)), giga(row.forward),
                   giga(row.recompute), giga(row.input_gradient), giga(row.weight_gradient),
                   bytes_text(row.kept), fmt::format("{:.0f}", arrived),
                   bytes_text(row.kept_per_row),
                   bytes_text(row.kept + arrived * row.kept_per_row)});
  }
  std::cout << table.text()
            << "Each line is one layer; kept: activations from forward to backward of one "
               "micro-batch of one sequence.\n";
}

}  // namespace sim
