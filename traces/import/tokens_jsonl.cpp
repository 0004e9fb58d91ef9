// Our own form for recorders that write JSON: one object per line and token,
//   {"request": 3, "position": 0, "experts": [[4, 1], [0, 7]], "weights": [[0.6, 0.4], [0.9, 0.1]]}
// or step and source_rank instead of request and position. experts has a list per layer. Optional:
// weights, token_id, tag, round; what the first line has, all must have.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "sim/input/text_file.h"
#include "traces/import/formats.h"
#include "traces/import/known_models.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

using nlohmann::json;

// One line of the file with its complaints.
class Line {
 public:
  Line(TextFile& file, std::string_view text) : file_(file), text_(text) {
    value_ = json::parse(text, nullptr, false);
    if (!value_.is_object()) fail("this line is not a JSON object");
  }
  bool has(const char* key) const { return value_.contains(key); }
  const json& at(const char* key) const {
    if (!has(key)) fail(fmt::format("there is no '{}'", key));
    return value_[key];
  }
  std::int64_t count(const char* key, std::int64_t most) const {
    const json& value = at(key);
    if (!value.is_number_unsigned() ||
        value.get<std::uint64_t>() > static_cast<std::uint64_t>(most)) {
      fail(fmt::format("'{}' is not a whole number from 0 to {}", key, most));
    }
    return value.get<std::int64_t>();
  }
  [[noreturn]] void fail(const std::string& message) const { file_.fail(text_, message); }

 private:
  TextFile& file_;
  std::string_view text_;
  json value_;
};

struct Choices {
  std::vector<std::uint16_t> ids;
  std::vector<std::uint8_t> counts;
  std::vector<float> weights;
};

void read_weights(const Line& line, std::size_t layers, Choices& to) {
  to.weights.clear();
  const json& lists = line.at("weights");
  if (!lists.is_array() || lists.size() != layers) line.fail("weights is not a list per layer");
  for (std::size_t l = 0; l < layers; ++l) {
    if (!lists[l].is_array() || lists[l].size() != to.counts[l]) {
      line.fail(fmt::format("weights of layer {}: not one per expert", l));
    }
    for (const json& weight : lists[l]) {
      if (!weight.is_number()) line.fail(fmt::format("weights of layer {}: not a number", l));
      to.weights.push_back(weight.get<float>());
    }
  }
}

void read_choices(const Line& line, int experts, bool weights, Choices& to) {
  to.ids.clear();
  to.counts.clear();
  const json& lists = line.at("experts");
  if (!lists.is_array() || lists.empty() || lists.size() > kMostLayers) {
    line.fail("experts is not a list of layers");
  }
  for (std::size_t l = 0; l < lists.size(); ++l) {
    if (!lists[l].is_array() || lists[l].size() > kMostChoices) {
      line.fail(fmt::format("experts of layer {}: not a list of at most {} ids", l, kMostChoices));
    }
    const std::size_t first = to.ids.size();
    for (const json& id : lists[l]) {
      if (!id.is_number_unsigned() ||
          id.get<std::uint64_t>() >= static_cast<std::uint64_t>(experts)) {
        line.fail(fmt::format("experts of layer {}: {} is not an expert from 0 to {}", l, id.dump(),
                              experts - 1));
      }
      const std::uint16_t e = id.get<std::uint16_t>();
      if (std::find(to.ids.begin() + static_cast<long>(first), to.ids.end(), e) != to.ids.end()) {
        line.fail(fmt::format("experts of layer {}: {} twice for one token", l, e));
      }
      to.ids.push_back(e);
    }
    to.counts.push_back(static_cast<std::uint8_t>(lists[l].size()));
  }
  if (weights) read_weights(line, lists.size(), to);
}

// First pass: the header from the first line and the most choices of any.
TraceHeader scan(const ImportJob& job, int experts) {
  TextFile file(job.path);
  TraceHeader header;
  header.model = model_name(job, "");
  header.provenance = "imported from a tokens-jsonl file";
  std::string_view text;
  Choices choices;
  while (file.next(text)) {
    if (text.empty()) continue;
    const Line line(file, text);
    read_choices(line, experts, line.has("weights"), choices);
    if (header.experts.empty()) {
      header.experts.assign(choices.counts.size(), experts);
      header.has_steps = line.has("step");
      header.has_gate_weights = line.has("weights");
      header.has_token_ids = line.has("token_id");
      header.has_tags = line.has("tag");
      header.has_rounds = line.has("round");
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
  return line.starts_with("{") && line.find("\"experts\"") != line.npos;
}

ImportReport import_tokens_jsonl(const ImportJob& job) {
  constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
  const int experts = expert_count(job);
  const TraceHeader header = scan(job, experts);
  TraceWriter writer(job.out, header);
  TextFile file(job.path);
  std::string_view text;
  Choices choices;
  while (file.next(text)) {
    if (text.empty()) continue;
    const Line line(file, text);
    read_choices(line, experts, header.has_gate_weights, choices);
    TokenRow row;
    if (header.has_steps) {
      row.step = line.count("step", kMost);
      row.source_rank = static_cast<std::int32_t>(
          line.count("source_rank", std::numeric_limits<std::int32_t>::max()));
    } else {
      row.request = line.count("request", kMost);
      row.position = line.count("position", kMost);
    }
    if (header.has_token_ids) row.token_id = line.count("token_id", kMost);
    if (header.has_rounds) {
      row.round = static_cast<std::uint32_t>(
          line.count("round", std::numeric_limits<std::uint32_t>::max()));
    }
    if (header.has_tags) {
      if (!line.at("tag").is_string()) line.fail("'tag' is not text");
      row.tag = writer.tag(line.at("tag").get<std::string>());
    }
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
