// DynaNDE-Simulator's routing of FLAME-MoE-290M: moe_layer,token,experts,router_scores. A file
// holds layer after layer; every layer must have the same tokens, which are joined into rows over
// layers.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>

#include "sim/input/text_file.h"
#include "traces/import/formats.h"
#include "traces/import/known_models.h"
#include "traces/import/token_sink.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

constexpr std::size_t kMostChoicesHeld = std::size_t{1} << 27;  // 768 MiB of ids and scores
// In the published file tokens 8 apart share 0.21 of their experts, neighbours 0.11 (chance 0.10),
// in its first and its second 1,024 tokens alike, and slots go on across that middle: 8 sequences
// side by side, as Megatron lays out [position, batch].
constexpr std::int64_t kInterleaved = 8;

struct Layer {
  int number = 0;
  std::map<std::int64_t, std::size_t> rows;  // token -> its first choice
  std::vector<std::uint16_t> choices;
  std::vector<float> scores;
};

std::vector<Layer> read_layers(const ImportJob& job, int experts, int k) {
  CsvFile file(job.path);
  const std::size_t layer = file.column("moe_layer");
  const std::size_t token = file.column("token");
  const std::size_t ids = file.column("experts");
  const std::size_t scores = file.column("router_scores");
  std::map<int, Layer> layers;
  std::size_t held = 0;
  while (file.next()) {
    Layer& to = layers[static_cast<int>(file.count(layer, 1'000'000))];
    if (layers.size() > kMostLayers) file.fail(layer, "too many layers");
    const std::size_t begin = to.choices.size();
    if (!to.rows.emplace(file.count(token, std::numeric_limits<std::int64_t>::max()), begin)
             .second) {
      file.fail(token, "this token is there twice in this layer");
    }
    const int count = file.experts(ids, experts, kMostChoices, to.choices);
    if (count != k) file.fail(ids, fmt::format("{} experts, top-k is {}", count, k));
    if (file.numbers(scores, to.scores) != k) file.fail(scores, "not a score per expert");
    held += static_cast<std::size_t>(k);
    if (held > kMostChoicesHeld) {
      file.fail(layer, fmt::format("more than {} choices", kMostChoicesHeld),
                "layers are joined in memory: split the file by token");
    }
  }
  std::vector<Layer> result;
  for (auto& [number, one] : layers) {
    one.number = number;
    result.push_back(std::move(one));
  }
  return result;
}

void check_same_tokens(const ImportJob& job, const std::vector<Layer>& layers) {
  if (layers.empty()) throw Error(Place{job.path}, "there are no rows");
  const auto token = [](const auto& row) { return row.first; };
  for (const Layer& layer : layers) {
    const bool same =
        layer.rows.size() == layers[0].rows.size() &&
        std::equal(layer.rows.begin(), layer.rows.end(), layers[0].rows.begin(),
                   [&](const auto& a, const auto& b) { return token(a) == token(b); });
    if (same) continue;
    throw Error(Place{job.path},
                fmt::format("layer {} has other tokens than layer {} ({} and {})", layer.number,
                            layers[0].number, layer.rows.size(), layers[0].rows.size()),
                "a token runs through every layer: leave out the layers that miss some");
  }
}

}  // namespace

bool sniff_flame_moe(std::string_view, std::string_view head) {
  return head.starts_with("moe_layer,token,experts,router_scores");
}

ImportReport import_flame_moe(const ImportJob& job) {
  ImportJob named = job;
  if (known_model(job) == nullptr && !job.options.experts) {
    named.options.model = "flame-moe-290m";
  }
  const int experts = expert_count(named);
  const int k = top_k(named);
  const std::vector<Layer> layers = read_layers(job, experts, k);
  check_same_tokens(job, layers);

  ImportReport report;
  report.model = model_name(named, "");
  report.notes.push_back(fmt::format(
      "assumed: request = token mod {0}, position = token / {0} (the file does not say; in the "
      "published one tokens {0} apart share twice the experts that neighbours share, as of {0} "
      "sequences laid out [position, batch])",
      kInterleaved));
  TraceHeader header;
  header.model = report.model;
  header.provenance = "imported from DynaNDE FLAME-MoE routing; " + report.notes[0];
  header.experts.assign(layers.size(), experts);
  header.top_k = k;
  header.has_gate_weights = true;
  header.has_token_ids = false;
  for (const Layer& layer : layers) header.layer_numbers.push_back(layer.number);
  TokenSink writer(job, header);
  std::vector<std::uint16_t> choices;
  std::vector<float> weights;
  for (const auto& [token, unused] : layers[0].rows) {
    choices.clear();
    weights.clear();
    for (const Layer& layer : layers) {
      const std::size_t begin = layer.rows.at(token);
      for (std::size_t i = begin; i < begin + static_cast<std::size_t>(k); ++i) {
        choices.push_back(layer.choices[i]);
        weights.push_back(layer.scores[i]);
      }
    }
    TokenRow row;
    row.request = token % kInterleaved;
    row.position = token / kInterleaved;
    row.choices = choices;
    row.gate_weights = weights;
    writer.append(row);
  }
  writer.finish();
  report.rows = writer.rows();
  return report;
}

}  // namespace sim
