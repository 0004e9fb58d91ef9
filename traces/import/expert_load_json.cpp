// Loads per expert as engines' load balancers dump them. One JSON object per line,
//   {"step": 12, "logical_load": [[3, 0, 5], [1, 4, 3]]}     a list of counts per layer
//   {"step": 12, "layer": 3, "counts": [3, 0, 5]}            or one layer
// or one object with such records in a list {"load_history": [...]} (EPLB benchmarks). Optional:
// step (else the number of the record), source_rank (ranks are added up), tag, phase.
#include <fmt/format.h>

#include <limits>
#include <optional>
#include <set>
#include <tuple>

#include "sim/input/text_file.h"
#include "traces/import/formats.h"
#include "traces/import/histograms.h"
#include "traces/import/json_fields.h"
#include "traces/import/known_models.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

// 65,536 experts of this many have a sum of 63 bits.
constexpr std::int64_t kMostCount = std::int64_t{1} << 46;
constexpr std::size_t kMostSeenBytes = std::size_t{1} << 30;
constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();

class LoadReader {
 public:
  explicit LoadReader(const ImportJob& job) : job_(job) {}

  void take(const JsonRecord& record) {
    if (first_) {
      steps_ = record.has(JsonField::kStep);
      ranks_ = record.has(JsonField::kSourceRank);
      tags_ = record.has(JsonField::kTag);
      phases_ = record.has(JsonField::kPhase);
      first_ = false;
    }
    if (!record.has(JsonField::kCounts) && record.has(JsonField::kPhysicalCounts)) {
      record.fail("counts of physical experts: which expert a slot holds is not said",
                  "sum them by physical_to_logical_map into 'logical_load'");
    }
    const std::int64_t step = steps_ ? record.count(JsonField::kStep, kMost) : records_;
    const std::int64_t rank = ranks_ ? record.count(JsonField::kSourceRank, kMost) : 0;
    std::string tag;
    if (tags_) tag = record.text(JsonField::kTag);
    if (phases_) tag += (tags_ ? "/" : "") + record.text(JsonField::kPhase);
    const JsonValue loads = record.at(JsonField::kCounts);
    if (!loads.is_list() || loads.empty()) record.fail("the counts are not a list");
    if (record.has(JsonField::kLayer)) {
      add(record, loads, tag, record.count(JsonField::kLayer, 1'000'000), step, rank);
    } else {
      if (loads.size() > kMostLayers || !loads[0].is_list()) {
        record.fail("the counts are not a list per layer", "or give each layer its own 'layer'");
      }
      for (std::size_t l = 0; l < loads.size(); ++l) {
        add(record, loads[l], tag, static_cast<std::int64_t>(l), step, rank);
      }
    }
    ++records_;
  }

  ImportReport write() {
    if (!histograms_) throw Error(Place{job_.path}, "there are no records");
    const int k = top_k(job_);
    histograms_->set_all_tokens(k);
    ImportReport report;
    report.model = model_name(job_, "");
    if (!steps_ && records_ > 1) {
      report.notes.push_back("the records name no step: they are steps in the order of the file");
    }
    if (ranks_) report.notes.push_back("the counts of all ranks are added up");
    TraceHeader header;
    header.model = report.model;
    header.top_k = k;
    header.has_steps = steps_ || records_ > 1;
    header.provenance = "imported from loads per expert";
    for (const std::string& note : report.notes) header.provenance += "; " + note;
    report.rows = histograms_->write(job_.out, header);
    return report;
  }

 private:
  void add(const JsonRecord& record, JsonValue loads, const std::string& tag, std::int64_t layer,
           std::int64_t step, std::int64_t rank) {
    if (!loads.is_list() || loads.empty() || loads.size() > kMostExperts) {
      record.fail(fmt::format("layer {}: not a list of counts", layer));
    }
    if (!histograms_) {
      experts_ =
          job_.options.experts ? static_cast<std::size_t>(*job_.options.experts) : loads.size();
      histograms_.emplace(static_cast<int>(experts_));
    }
    if (loads.size() != experts_) {
      record.fail(fmt::format("layer {}: {} experts, not {}", layer, loads.size(), experts_));
    }
    seen_bytes_ += kCountCellBytes + tag.size();
    if (seen_bytes_ > kMostSeenBytes) {
      record.fail("so many loads need more than 1 GiB to tell them apart",
                  "split the file by steps or ranks");
    }
    if (!seen_.emplace(step, tag, layer, rank).second) {
      record.fail(fmt::format("layer {} of step {} is there twice", layer, step),
                  "loads of several ranks need a 'source_rank'");
    }
    std::vector<std::int64_t>& counts = histograms_->at(tag, static_cast<int>(layer), step);
    for (std::size_t e = 0; e < experts_; ++e) {
      counts[e] += count(record, loads[e], layer);
      if (counts[e] > kMostCount) record.fail(fmt::format("layer {}: a count above 2^46", layer));
    }
  }

  // Counts may be written as 12.0: tensors of floats.
  static std::int64_t count(const JsonRecord& record, JsonValue value, std::int64_t layer) {
    const double number = value.number().value_or(-1);
    if (!(number >= 0 && number <= static_cast<double>(kMostCount))) {
      record.fail(fmt::format("layer {}: {} is not a count", layer, value.shown()));
    }
    const std::int64_t whole = static_cast<std::int64_t>(number);
    if (static_cast<double>(whole) != number) {
      record.fail(fmt::format("layer {}: {} is not a whole count", layer, value.shown()));
    }
    return whole;
  }

  const ImportJob& job_;
  bool first_ = true;
  bool steps_ = false, ranks_ = false, tags_ = false, phases_ = false;
  std::int64_t records_ = 0;
  std::size_t experts_ = 0;
  std::optional<Histograms> histograms_;
  std::set<std::tuple<std::int64_t, std::string, std::int64_t, std::int64_t>> seen_;
  std::size_t seen_bytes_ = 0;
};

// A line that is whole by itself, and no list of records.
bool is_record(std::string_view line) {
  const JsonDocument document(line);
  return document.root() && !document.root().find(names_of(JsonField::kLoadHistory)[0]);
}

}  // namespace

bool sniff_expert_load_json(std::string_view, std::string_view head) {
  return head.starts_with("{") &&
         (mentions(head, JsonField::kCounts) || mentions(head, JsonField::kPhysicalCounts) ||
          mentions(head, JsonField::kLoadHistory));
}

ImportReport import_expert_load_json(const ImportJob& job) {
  LoadReader reader(job);
  // A first line that is whole by itself: lines. Else one object over many lines.
  TextFile file(job.path);
  std::string_view text;
  bool first = true;
  while (file.next(text)) {
    if (text.empty()) continue;
    if (first && !is_record(text)) {
      const JsonDocument document = JsonDocument::read_file(job.path);
      const JsonRecord whole({job.path}, "", document.root());
      const JsonValue history = whole.at(JsonField::kLoadHistory);
      if (!history.is_list()) whole.fail("load_history is not a list");
      for (std::size_t i = 0; i < history.size(); ++i) {
        reader.take(JsonRecord({job.path}, fmt::format("load_history[{}]: ", i), history[i]));
      }
      return reader.write();
    }
    first = false;
    const JsonRecord record(file, text);
    if (!record.is_meta()) reader.take(record);
  }
  return reader.write();
}

}  // namespace sim
