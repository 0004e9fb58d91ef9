// Routed experts as vLLM returns them, one JSON object per line and request:
//   {"request_id": "cmpl-7", "routed_experts": [[[4, 1], [0, 7]], ...]}
// a list per token, in it a list per layer, in it the ids. Optional: prompt_routed_experts (the
// same for the prompt, whose tokens come first), first_position (the position of the first token,
// else 0), tag, phase. vLLM's buffer has a row of zeros for a layer without experts and for a token
// that it did not run: such layers and tokens are left out, and said.
#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "sim/input/text_file.h"
#include "traces/import/formats.h"
#include "traces/import/json_choices.h"
#include "traces/import/known_models.h"
#include "traces/import/request_numbers.h"
#include "traces/import/token_sink.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

constexpr std::size_t kMostLineBytes = 32 << 20;  // a request: its JSON takes up to 30 times that
constexpr std::int64_t kMost = std::int64_t{1} << 62;

// Two or more zeros: no router chooses an expert twice.
bool is_blank(JsonValue ids) {
  return ids.size() >= 2 &&
         std::all_of(ids.begin(), ids.end(), [](JsonValue id) { return id.whole() == 0U; });
}

// One choice, of expert 0: with top-1 nothing tells it from a row that is blank.
bool is_lone_zero(JsonValue ids) { return ids.size() == 1 && ids[0].whole() == 0U; }

struct Columns {
  bool request = false, prompt = false, tag = false, phase = false;
};

class Reader {
 public:
  Reader(const ImportJob& job, int experts) : job_(job), experts_(experts) {}

  // Calls take(line, token, position, is_prompt) for every token that is not blank.
  template <class Begin, class Take>
  void each_token(Begin begin, Take take) {
    TextFile file(job_.path, kMostLineBytes);
    std::string_view text;
    while (file.next(text)) {
      if (text.empty()) continue;
      const JsonRecord line(file, text);
      if (line.is_meta()) continue;
      begin(line);
      std::int64_t position = 0;
      if (line.has(JsonField::kFirstPosition)) {
        position = line.count(JsonField::kFirstPosition, kMost);
      }
      if (line.has(JsonField::kPromptRoutedExperts)) {
        tokens_of(line, JsonField::kPromptRoutedExperts, position, take);
      }
      tokens_of(line, JsonField::kRoutedExperts, position, take);
    }
  }

  // The layers of a token that is not blank, without those that have no experts.
  void choices(const JsonRecord& line, JsonValue token, const std::vector<bool>& routed,
               TokenChoices& to, std::int64_t& padding) const {
    to.clear();
    for (std::size_t l = 0; l < token.size(); ++l) {
      if (!routed[l]) continue;
      read_ids(line, token[l], static_cast<std::int64_t>(l), experts_, to, &padding);
    }
  }

  std::int64_t blank_tokens() const { return blank_tokens_; }
  std::int64_t lone_zero_tokens() const { return lone_zero_tokens_; }  // not blank
  std::size_t layers() const { return layers_; }

 private:
  template <class Take>
  void tokens_of(const JsonRecord& line, JsonField field, std::int64_t& position, Take take) {
    const JsonValue tokens = line.at(field);
    if (!tokens.is_list()) line.fail(fmt::format("{} is not a list of tokens", line.name(field)));
    for (const JsonValue token : tokens) {
      if (!token.is_list() || token.empty() || token.size() > kMostLayers) {
        line.fail(fmt::format("{}: a token is not a list of layers, each a list of ids",
                              line.name(field)));
      }
      if (layers_ == 0) layers_ = token.size();
      if (token.size() != layers_) {
        line.fail(fmt::format("{}: {} layers, the tokens before have {}", line.name(field),
                              token.size(), layers_));
      }
      if (std::all_of(token.begin(), token.end(), is_lone_zero)) ++lone_zero_tokens_;
      if (std::all_of(token.begin(), token.end(), is_blank)) {
        ++blank_tokens_;
      } else {
        take(line, token, position, field == JsonField::kPromptRoutedExperts);
      }
      ++position;
    }
  }

  const ImportJob& job_;
  int experts_;
  std::size_t layers_ = 0;
  std::int64_t blank_tokens_ = 0;
  std::int64_t lone_zero_tokens_ = 0;
};

}  // namespace

bool sniff_routed_experts_jsonl(std::string_view, std::string_view head) {
  return head.starts_with("{") && (mentions(head, JsonField::kRoutedExperts) ||
                                   mentions(head, JsonField::kPromptRoutedExperts));
}

ImportReport import_routed_experts_jsonl(const ImportJob& job) {
  const int experts = expert_count(job);

  // First pass: the layers that route, the most choices, whether requests have numbers.
  std::optional<Columns> columns;
  RequestNumbers requests;
  std::vector<bool> routed;
  TokenChoices choices;
  std::size_t most = 0;
  Reader scan(job, experts);
  scan.each_token(
      [&](const JsonRecord& line) {
        if (!columns) {
          columns = {line.has(JsonField::kRequest), line.has(JsonField::kPromptRoutedExperts),
                     line.has(JsonField::kTag), line.has(JsonField::kPhase)};
        }
        if (columns->request) requests.note(line);
      },
      [&](const JsonRecord&, JsonValue token, std::int64_t, bool) {
        routed.resize(token.size());
        for (std::size_t l = 0; l < token.size(); ++l) {
          if (is_blank(token[l])) continue;
          routed[l] = true;
          most = std::max(most, token[l].size());
        }
      });
  if (!columns) throw Error(Place{job.path}, "there are no requests");
  if (most == 0) throw Error(Place{job.path}, "no token chooses any expert");

  ImportReport report;
  report.model = model_name(job, "");
  TraceHeader header;
  header.model = report.model;
  for (std::size_t l = 0; l < routed.size(); ++l) {
    if (routed[l]) header.layer_numbers.push_back(static_cast<int>(l));
  }
  header.experts.assign(header.layer_numbers.size(), experts);
  header.top_k = static_cast<int>(std::min<std::size_t>(most, kMostChoices));
  header.has_tags = columns->tag || columns->phase || columns->prompt;
  if (!columns->request) {
    report.notes.push_back("no request ids: requests are numbered in the order of the lines");
  } else if (requests.mapped()) {
    report.notes.push_back("requests are numbered in the order in which they appear");
  }
  if (header.layer_numbers.size() < routed.size()) {
    report.notes.push_back(
        fmt::format("{} of {} layers have only zeros and were left out: they "
                    "have no router",
                    routed.size() - header.layer_numbers.size(), routed.size()));
  }
  if (scan.blank_tokens() > 0) {
    report.notes.push_back(fmt::format(
        "{} tokens have only zeros and were left out: they were not run", scan.blank_tokens()));
  }
  if (scan.lone_zero_tokens() > 0) {
    report.notes.push_back(fmt::format(
        "{} tokens choose expert 0 alone in every layer: with one choice this looks the same as a "
        "token that was not run; they were kept",
        scan.lone_zero_tokens()));
  }
  header.provenance = "imported from routed experts per request";
  for (const std::string& note : report.notes) header.provenance += "; " + note;

  TokenSink writer(job, header);
  std::int64_t lines = 0;
  std::int64_t request = 0;
  std::int64_t padding = 0;
  std::string tag;
  Reader reader(job, experts);
  reader.each_token(
      [&](const JsonRecord& line) {
        request = columns->request ? requests.number(line) : lines++;
        tag.clear();
        if (columns->tag) tag = line.text(JsonField::kTag);
        if (columns->phase) tag += (tag.empty() ? "" : "/") + line.text(JsonField::kPhase);
      },
      [&](const JsonRecord& line, JsonValue token, std::int64_t position, bool prompt) {
        reader.choices(line, token, routed, choices, padding);
        TokenRow row;
        row.request = request;
        row.position = position;
        if (columns->prompt && !columns->phase) {
          row.tag = writer.tag(tag + (tag.empty() ? "" : "/") + (prompt ? "prefill" : "decode"));
        } else if (header.has_tags) {
          row.tag = writer.tag(tag);
        }
        row.choices = choices.ids;
        row.choice_counts = choices.counts;
        writer.append(row);
      });
  if (padding > 0) {
    report.notes.push_back(fmt::format("experts of -1 were taken as no choice: {}", padding));
  }
  writer.finish();
  report.rows = writer.rows();
  return report;
}

}  // namespace sim
