// Events of an engine: one JSON object per line, token and layer,
//   {"request": "a-7", "phase": "decode", "step": 12, "position": 3, "layer": 0, "experts": [4, 1]}
// A token is known by request and position, or by step, source_rank and position (its index in the
// batch). Its layers may come in any order and are joined here; a token that misses a layer that
// others have is left out, and counted. Optional: weights, token_id, tag, phase, round,
// source_rank; what the first event has, all must have. The published vLLM route logs
// (moe_routes.jsonl) are events; their first line ("type": "meta") names the model.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <set>

#include "sim/input/text_file.h"
#include "traces/import/formats.h"
#include "traces/import/json_choices.h"
#include "traces/import/known_models.h"
#include "traces/import/request_numbers.h"
#include "traces/import/token_join.h"
#include "traces/import/token_sink.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kMostRank = std::numeric_limits<std::int32_t>::max();

// What the first event has.
struct Columns {
  bool request = false, step = false, source_rank = false;
  bool weights = false, token_id = false, tag = false, phase = false, round = false;

  explicit Columns(const JsonRecord& line)
      : request(line.has(JsonField::kRequest)),
        step(line.has(JsonField::kStep)),
        source_rank(line.has(JsonField::kSourceRank)),
        weights(line.has(JsonField::kWeights)),
        token_id(line.has(JsonField::kTokenId)),
        tag(line.has(JsonField::kTag)),
        phase(line.has(JsonField::kPhase)),
        round(line.has(JsonField::kRound)) {
    if (!request && !step) {
      line.fail("there is neither 'request' nor 'step'", "a token's layers are joined by them");
    }
  }
};

// Reads one event, the same way in both passes.
class EventReader {
 public:
  EventReader(const Columns& columns, int experts) : columns_(columns), experts_(experts) {}

  const Columns& columns() const { return columns_; }
  std::int64_t padding() const { return padding_; }

  std::int64_t layer(const JsonRecord& line) const {
    return line.count(JsonField::kLayer, 1'000'000);
  }
  void choices(const JsonRecord& line, TokenChoices& to) {
    to.clear();
    const std::int64_t number = layer(line);
    std::int64_t padding = 0;
    read_ids(line, line.at(JsonField::kExperts), number, experts_, to, &padding);
    padding_ += padding;
    if (!columns_.weights) return;
    if (padding > 0) line.fail("an expert of -1 beside weights: which weight is whose?");
    read_weights(line, line.at(JsonField::kWeights), number, to);
  }
  TokenKey key(const JsonRecord& line, RequestNumbers& requests) const {
    TokenKey key;
    if (columns_.step) key.step = line.count(JsonField::kStep, kMost);
    if (columns_.source_rank) key.source_rank = line.count(JsonField::kSourceRank, kMostRank);
    if (columns_.request) key.request = requests.number(line);
    key.position = line.count(JsonField::kPosition, kMost);
    return key;
  }
  TokenJoin::Said said(const JsonRecord& line) const {
    TokenJoin::Said said;
    if (columns_.token_id) said.token_id = line.count(JsonField::kTokenId, kMost);
    if (columns_.round) {
      said.round = line.count(JsonField::kRound, std::numeric_limits<std::uint32_t>::max());
    }
    if (columns_.tag) said.tag = line.text(JsonField::kTag);
    if (columns_.phase) {
      said.tag += (columns_.tag ? "/" : "") + line.text(JsonField::kPhase);
    }
    return said;
  }

 private:
  Columns columns_;
  int experts_;
  std::int64_t padding_ = 0;
};

// What both passes go through: every event, with the meta lines passed over.
template <class Take>
void each_event(const ImportJob& job, Take take) {
  TextFile file(job.path);
  std::string_view text;
  while (file.next(text)) {
    if (text.empty()) continue;
    const JsonRecord line(file, text);
    if (!line.is_meta()) take(line);
  }
}

// The model that a meta line before the first event names.
std::string model_of_file(const ImportJob& job) {
  TextFile file(job.path);
  std::string_view text;
  while (file.next(text)) {
    if (text.empty()) continue;
    const JsonRecord line(file, text);
    if (!line.is_meta()) return {};
    if (line.has(JsonField::kModel)) return line.text(JsonField::kModel);
  }
  return {};
}

}  // namespace

bool sniff_events_jsonl(std::string_view, std::string_view head) {
  return head.starts_with("{") && mentions(head, JsonField::kExperts) &&
         mentions(head, JsonField::kLayer);
}

ImportReport import_events_jsonl(const ImportJob& given) {
  ImportJob job = given;
  if (job.options.model.empty()) job.options.model = model_of_file(job);
  const int experts = expert_count(job);

  // First pass: which layers there are, the most choices, whether requests have numbers.
  std::optional<EventReader> reader;
  RequestNumbers requests;
  std::set<int> numbers;
  TokenChoices choices;
  int most = 0;
  each_event(job, [&](const JsonRecord& line) {
    if (!reader) reader.emplace(Columns(line), experts);
    if (reader->columns().request) requests.note(line);
    numbers.insert(static_cast<int>(reader->layer(line)));
    if (numbers.size() > kMostLayers) line.fail(fmt::format("more than {} layers", kMostLayers));
    reader->choices(line, choices);
    most = std::max<int>(most, choices.counts[0]);
  });
  if (!reader) throw Error(Place{job.path}, "there are no events");
  if (most == 0) throw Error(Place{job.path}, "no token chooses any expert");
  const Columns& columns = reader->columns();

  ImportReport report;
  report.model = model_name(job, "");
  TraceHeader header;
  header.model = report.model;
  header.experts.assign(numbers.size(), experts);
  header.layer_numbers.assign(numbers.begin(), numbers.end());
  header.top_k = most;
  const bool counts_steps = job.options.counts && job.options.keep.empty();
  header.has_steps =
      columns.step && (!columns.request || job.options.keep == "steps" || counts_steps);
  header.has_gate_weights = columns.weights;
  header.has_token_ids = columns.token_id;
  header.has_tags = columns.tag || columns.phase;
  header.has_rounds = columns.round;
  if (columns.step && columns.request) {
    report.notes.push_back(header.has_steps
                               ? "steps are kept, requests and positions are not"
                               : "requests and positions are kept, steps are not (--keep steps)");
  }
  if (header.has_steps && !columns.source_rank) {
    report.notes.push_back("no source_rank: all tokens come from rank 0");
  }
  if (requests.mapped() && !header.has_steps) {
    report.notes.push_back("requests are numbered in the order in which they appear");
  }
  if (reader->padding() > 0) {
    report.notes.push_back(
        fmt::format("experts of -1 were taken as no choice: {}", reader->padding()));
  }
  header.provenance = "imported from an events-jsonl file";
  for (const std::string& note : report.notes) header.provenance += "; " + note;

  TokenSink writer(job, header);
  TokenJoin join(static_cast<int>(numbers.size()));
  TokenChoices complete;
  each_event(job, [&](const JsonRecord& line) {
    const auto layer = numbers.find(static_cast<int>(reader->layer(line)));
    reader->choices(line, choices);
    const TokenKey key = reader->key(line, requests);
    const TokenJoin::Said said = reader->said(line);
    const int index = static_cast<int>(std::distance(numbers.begin(), layer));
    if (!join.add(line, key, index, choices, said, complete)) return;
    TokenRow row;
    row.step = key.step;
    row.source_rank = static_cast<std::int32_t>(key.source_rank);
    row.request = key.request;
    row.position = key.position;
    row.token_id = said.token_id;
    row.round = static_cast<std::uint32_t>(said.round);
    if (header.has_tags) row.tag = writer.tag(said.tag);
    row.choices = complete.ids;
    row.choice_counts = complete.counts;
    row.gate_weights = complete.weights;
    writer.append(row);
  });
  if (writer.tokens() == 0) {
    throw Error(Place{job.path}, fmt::format("no token has all {} layers", numbers.size()),
                "a token is known by its request and position, or by step, source_rank and "
                "position");
  }
  if (join.open() > 0) {
    report.notes.push_back(fmt::format("{} tokens miss one of the {} layers and were left out",
                                       join.open(), numbers.size()));
  }
  writer.finish();
  report.rows = writer.rows();
  return report;
}

}  // namespace sim
