#include "traces/import/layer_columns.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>

#include "sim/input/text_file.h"
#include "traces/import/known_models.h"
#include "traces/import/token_sink.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

struct Layers {
  std::vector<std::size_t> columns;
  std::vector<int> numbers;
};

// Columns "layer0", "layer1", ... with rising numbers.
Layers find_layers(const CsvFile& file, const std::string& path) {
  Layers layers;
  for (std::size_t c = 0; c < file.columns().size(); ++c) {
    const std::string& name = file.columns()[c];
    if (!name.starts_with("layer")) continue;
    int number = 0;
    const char* const end = name.data() + name.size();
    const auto [stop, failed] = std::from_chars(name.data() + 5, end, number);
    if (failed != std::errc{} || stop != end || number < 0 || number > 1'000'000) continue;
    if (!layers.numbers.empty() && number <= layers.numbers.back()) {
      throw Error(Place{path, 1, 1}, fmt::format("column '{}' is out of order", name),
                  "layers stand in rising order");
    }
    layers.columns.push_back(c);
    layers.numbers.push_back(number);
  }
  if (layers.columns.empty()) {
    throw Error(Place{path, 1, 1}, "there is no column of experts",
                "they are called layer0, layer1, ...");
  }
  if (layers.columns.size() > kMostLayers) {
    throw Error(Place{path, 1, 1}, fmt::format("more than {} layers", kMostLayers));
  }
  return layers;
}

int most_choices(const std::string& path, const Layers& layers, int experts) {
  CsvFile file(path);
  std::vector<std::uint16_t> choices;
  int most = 0;
  while (file.next()) {
    for (const std::size_t column : layers.columns) {
      choices.clear();
      most = std::max(most, file.experts(column, experts, kMostChoices, choices));
    }
  }
  if (most == 0) throw Error(Place{path}, "no token chooses any expert");
  return most;
}

}  // namespace

ImportReport import_layer_columns(const ImportJob& job, const LayerColumns& rules) {
  CsvFile file(job.path);
  const bool steps = file.has("step") || file.has("source_rank");
  const std::size_t first = file.column(steps ? "step" : "request");
  const std::size_t second = file.column(steps ? "source_rank" : "position");
  const Layers layers = find_layers(file, job.path);
  const int experts = expert_count(job);

  TraceHeader header;
  header.model = model_name(job, "");
  header.provenance = rules.provenance;
  header.experts.assign(layers.columns.size(), experts);
  header.layer_numbers = layers.numbers;
  header.top_k = most_choices(job.path, layers, experts);
  if (job.options.top_k && *job.options.top_k > header.top_k) header.top_k = *job.options.top_k;
  header.has_steps = steps;
  header.has_token_ids = file.has("token_id");
  header.has_rounds = file.has("round");
  header.has_tags = rules.tag_of != nullptr || file.has("tag");
  const std::size_t token_id = header.has_token_ids ? file.column("token_id") : 0;
  const std::size_t round = header.has_rounds ? file.column("round") : 0;
  const std::size_t tag = rules.tag_of == nullptr && header.has_tags ? file.column("tag") : 0;

  TokenSink writer(job, header);
  std::vector<std::uint16_t> choices;
  std::vector<std::uint8_t> counts;
  while (file.next()) {
    TokenRow row;
    if (steps) {
      row.step = file.count(first, kMost);
      row.source_rank =
          static_cast<std::int32_t>(file.count(second, std::numeric_limits<std::int32_t>::max()));
    } else {
      row.request = file.count(first, kMost);
      row.position = file.count(second, kMost);
    }
    if (header.has_token_ids) row.token_id = file.count(token_id, kMost);
    if (header.has_rounds) {
      row.round =
          static_cast<std::uint32_t>(file.count(round, std::numeric_limits<std::uint32_t>::max()));
    }
    if (rules.tag_of) {
      row.tag = writer.tag(rules.tag_of(row.request));
    } else if (header.has_tags) {
      row.tag = writer.tag(file.text(tag));
    }
    choices.clear();
    counts.clear();
    for (const std::size_t column : layers.columns) {
      counts.push_back(
          static_cast<std::uint8_t>(file.experts(column, experts, header.top_k, choices)));
    }
    row.choices = choices;
    row.choice_counts = counts;
    writer.append(row);
  }
  writer.finish();
  ImportReport report;
  report.model = header.model;
  report.rows = writer.rows();
  return report;
}

}  // namespace sim
