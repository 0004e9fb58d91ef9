// Our own form for recorders that write JSON: one object per line and token,
//   {"request": 3, "position": 0, "experts": [[4, 1], [0, 7]], "weights": [[0.6, 0.4], [0.9, 0.1]]}
// or step and source_rank instead of request and position. experts has a list per layer. Optional:
// weights, token_id, tag, round; what the first line has, all must have.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "sim/input/text_file.h"
#include "traces/import/formats.h"
#include "traces/import/json_choices.h"
#include "traces/import/known_models.h"
#include "traces/import/token_sink.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

void read_choices(const JsonRecord& line, int experts, bool weights, TokenChoices& to) {
  to.clear();
  const JsonValue lists = line.at(JsonField::kExperts);
  if (!lists.is_list() || lists.empty() || lists.size() > kMostLayers) {
    line.fail("experts is not a list of layers");
  }
  const JsonValue weight_lists = weights ? line.at(JsonField::kWeights) : JsonValue();
  if (weights && (!weight_lists.is_list() || weight_lists.size() != lists.size())) {
    line.fail("weights is not a list per layer");
  }
  for (std::size_t l = 0; l < lists.size(); ++l) {
    read_ids(line, lists[l], static_cast<int>(l), experts, to);
    if (weights) read_weights(line, weight_lists[l], static_cast<int>(l), to);
  }
}

// First pass: the header from the first line and the most choices of any.
TraceHeader scan(const ImportJob& job, int experts) {
  TextFile file(job.path);
  TraceHeader header;
  header.model = model_name(job, "");
  header.provenance = "imported from a tokens-jsonl file";
  std::string_view text;
  TokenChoices choices;
  while (file.next(text)) {
    if (text.empty()) continue;
    const JsonRecord line(file, text);
    read_choices(line, experts, line.has(JsonField::kWeights), choices);
    if (header.experts.empty()) {
      header.experts.assign(choices.counts.size(), experts);
      header.has_steps = line.has(JsonField::kStep);
      header.has_gate_weights = line.has(JsonField::kWeights);
      header.has_token_ids = line.has(JsonField::kTokenId);
      header.has_tags = line.has(JsonField::kTag);
      header.has_rounds = line.has(JsonField::kRound);
    } else if (choices.counts.size() != header.experts.size()) {
      line.fail(fmt::format("{} layers, the lines before have {}", choices.counts.size(),
                            header.experts.size()));
    }
    header.top_k = std::max<int>(header.top_k,
                                 *std::max_element(choices.counts.begin(), choices.counts.end()));
  }
  if (header.top_k == 0) throw Error(Place{job.path}, "no token chooses any expert");
  return header;
}

}  // namespace

bool sniff_tokens_jsonl(std::string_view, std::string_view head) {
  const std::string_view line = head.substr(0, head.find('\n'));
  return line.starts_with("{") && mentions(line, JsonField::kExperts);
}

ImportReport import_tokens_jsonl(const ImportJob& job) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  const int experts = expert_count(job);
  const TraceHeader header = scan(job, experts);
  TokenSink writer(job, header);
  TextFile file(job.path);
  std::string_view text;
  TokenChoices choices;
  while (file.next(text)) {
    if (text.empty()) continue;
    const JsonRecord line(file, text);
    read_choices(line, experts, header.has_gate_weights, choices);
    TokenRow row;
    if (header.has_steps) {
      row.step = line.count(JsonField::kStep, kMost);
      row.source_rank = static_cast<std::int32_t>(
          line.count(JsonField::kSourceRank, std::numeric_limits<std::int32_t>::max()));
    } else {
      row.request = line.count(JsonField::kRequest, kMost);
      row.position = line.count(JsonField::kPosition, kMost);
    }
    if (header.has_token_ids) row.token_id = line.count(JsonField::kTokenId, kMost);
    if (header.has_rounds) {
      row.round = static_cast<std::uint32_t>(
          line.count(JsonField::kRound, std::numeric_limits<std::uint32_t>::max()));
    }
    if (header.has_tags) row.tag = writer.tag(line.text(JsonField::kTag));
    row.choices = choices.ids;
    row.choice_counts = choices.counts;
    row.gate_weights = choices.weights;
    writer.append(row);
  }
  writer.finish();
  ImportReport report;
  report.model = header.model;
  report.rows = writer.rows();
  return report;
}

}  // namespace sim
