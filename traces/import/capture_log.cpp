// The logs of traces/capture, one or several of the same run, into one trace.
//
// Two passes: the first sees which layers and columns were recorded and what was dropped, the
// second joins (capture_join.h). A step is over, and its tokens are written, when every log has
// gone kOpenSteps further: an engine may run some steps at once.
#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "sim/core/error.h"
#include "traces/capture/moe_capture.h"
#include "traces/import/capture_join.h"
#include "traces/import/formats.h"
#include "traces/import/token_sink.h"

namespace sim {
namespace {

constexpr std::int64_t kOpenSteps = 8;

// What a pass over all logs finds.
struct Survey {
  CaptureHeader header;
  std::vector<bool> layer_seen;
  CaptureJoin::Columns seen;
  int top_k = 0;
  bool any = false;
  std::vector<std::string> notes;
};

// Whether batches of this step are wanted; the range is applied here, not in TokenSink, so that
// --keep requests may have it too.
bool wanted(const ImportJob& job, std::int64_t step) {
  return !job.options.steps || job.options.steps->holds(step);
}

std::vector<std::string> paths_of(const ImportJob& job) {
  std::vector<std::string> paths = {job.path};
  paths.insert(paths.end(), job.options.more_files.begin(), job.options.more_files.end());
  return paths;
}

CaptureLog::OnDamage on_damage(const ImportJob& job) {
  return job.options.salvage ? CaptureLog::OnDamage::kStop : CaptureLog::OnDamage::kThrow;
}

void check_same_run(const CaptureLog& log, const CaptureHeader& first, const std::string& path) {
  const CaptureHeader& h = log.header();
  const bool same = h.experts == first.experts && h.layer_numbers == first.layer_numbers &&
                    h.model == first.model && h.weights == first.weights &&
                    h.token_ids == first.token_ids && h.tags == first.tags &&
                    h.requests == first.requests;
  if (!same) {
    throw Error(Place{log.path()},
                fmt::format("this log has another model, other layers or columns than {}", path),
                "logs of one run go together");
  }
}

std::string place_text(const CaptureDrops& d) {
  const auto range = [](std::string_view what, std::int64_t first, std::int64_t last) {
    return first == last ? fmt::format("{} {}", what, first)
                         : fmt::format("{}s {} to {}", what, first, last);
  };
  return fmt::format("{}, {}, {}", range("step", d.first_step, d.last_step),
                     range("layer", d.first_layer, d.last_layer),
                     range("rank", d.first_rank, d.last_rank));
}

// Adds a frame of drops to the sum of those of its reason.
void sum_drops(CaptureDrops& sum, const CaptureDrops& d) {
  if (sum.batches == 0) {
    sum = d;
    return;
  }
  sum.batches += d.batches;
  sum.tokens += d.tokens;
  sum.choices += d.choices;
  sum.first_step = std::min(sum.first_step, d.first_step);
  sum.last_step = std::max(sum.last_step, d.last_step);
  sum.first_layer = std::min(sum.first_layer, d.first_layer);
  sum.last_layer = std::max(sum.last_layer, d.last_layer);
  sum.first_rank = std::min(sum.first_rank, d.first_rank);
  sum.last_rank = std::max(sum.last_rank, d.last_rank);
}

void note_drops(const CaptureLog& log, const CaptureDrops& full, const CaptureDrops& failed,
                Survey& survey) {
  for (const CaptureDrops* d : {&full, &failed}) {
    if (d->batches == 0) continue;
    survey.notes.push_back(
        fmt::format("{}: the recorder {} {} batches ({} tokens, {} choices) within {}", log.path(),
                    d == &full ? "had no room for" : "could not write", d->batches, d->tokens,
                    d->choices, place_text(*d)));
  }
}

void note_end(const CaptureLog& log, Survey& survey) {
  if (!log.damage().empty()) {
    survey.notes.push_back(
        fmt::format("{}: {}; only what stands before is imported", log.path(), log.damage()));
  } else if (log.cut_bytes() > 0) {
    survey.notes.push_back(fmt::format(
        "{}: the last frame is cut ({} bytes left out): the host did not end on its own",
        log.path(), log.cut_bytes()));
  } else if (!log.closed()) {
    survey.notes.push_back(fmt::format(
        "{}: the host did not close this log; what it recorded last may be missing", log.path()));
  }
}

void see(const CaptureBatch& batch, Survey& survey) {
  if (batch.tokens == 0) return;
  survey.any = true;
  survey.layer_seen[static_cast<std::size_t>(batch.layer)] = true;
  survey.seen.weights = survey.seen.weights || !batch.weights.empty();
  survey.seen.token_ids = survey.seen.token_ids || !batch.token_ids.empty();
  survey.seen.tags = survey.seen.tags || !batch.tags.empty();
  survey.seen.requests = survey.seen.requests || !batch.requests.empty();
  survey.top_k = std::max<int>(
      survey.top_k, *std::max_element(batch.choice_counts.begin(), batch.choice_counts.end()));
}

Survey survey_logs(const ImportJob& job) {
  Survey survey;
  for (const std::string& path : paths_of(job)) {
    CaptureLog log(path, on_damage(job));
    if (path == job.path) {
      survey.header = log.header();
      survey.layer_seen.resize(survey.header.experts.size(), false);
    } else {
      check_same_run(log, survey.header, job.path);
    }
    CaptureDrops full, failed;
    for (CaptureItem item = log.next(); item != CaptureItem::kEnd; item = log.next()) {
      if (item == CaptureItem::kDrops) {
        sum_drops(log.drops().write_error ? failed : full, log.drops());
      } else if (wanted(job, log.batch().step)) {
        see(log.batch(), survey);
      }
    }
    note_drops(log, full, failed, survey);
    note_end(log, survey);
  }
  return survey;
}

void note_columns(Survey& survey) {
  const auto check = [&](bool announced, bool seen, std::string_view what) {
    if (announced && !seen) {
      survey.notes.push_back(fmt::format("{} were announced and never recorded", what));
    }
  };
  check(survey.header.token_ids, survey.seen.token_ids, "token ids");
  check(survey.header.tags, survey.seen.tags, "tags");
  check(survey.header.requests, survey.seen.requests, "requests and positions");
  const auto silent = std::count(survey.layer_seen.begin(), survey.layer_seen.end(), false);
  if (silent > 0 && survey.any) {
    survey.notes.push_back(fmt::format("{} of {} layers were never recorded and are left out",
                                       silent, survey.layer_seen.size()));
  }
}

bool keeps_requests(const ImportJob& job, const Survey& survey) {
  if (job.options.counts && job.options.keep.empty()) return false;  // counts are per step
  return survey.seen.requests && job.options.keep != "steps";
}

TraceHeader trace_header(const ImportJob& job, const Survey& survey) {
  TraceHeader header;
  header.model = job.options.model.empty() ? survey.header.model : job.options.model;
  header.provenance = "captured by traces/capture";
  if (!survey.header.provenance.empty()) header.provenance += ": " + survey.header.provenance;
  for (const std::string& note : survey.notes) header.provenance += "; " + note;
  for (std::size_t layer = 0; layer < survey.layer_seen.size(); ++layer) {
    if (!survey.layer_seen[layer]) continue;
    header.experts.push_back(survey.header.experts[layer]);
    header.layer_numbers.push_back(survey.header.layer_numbers[layer]);
  }
  header.top_k = survey.top_k;
  header.has_steps = !keeps_requests(job, survey);
  header.has_gate_weights = survey.seen.weights;
  header.has_token_ids = survey.seen.token_ids;
  header.has_tags = survey.seen.tags;
  return header;
}

void note_left_out(const JoinCounters& counters, std::vector<std::string>& notes) {
  const auto note = [&](std::int64_t count, std::string_view what) {
    if (count > 0) notes.push_back(fmt::format("{} {}", count, what));
  };
  note(counters.dropped, "tokens left out: batches of their step and rank were dropped");
  note(counters.unequal_layers,
       "tokens left out: the layers of their step and rank do not hold equally many");
  note(counters.no_column,
       "tokens left out: their step and rank lacks token ids, tags, or requests and positions");
  note(counters.columns_differ,
       "tokens left out: the layers of their step and rank name other tokens");
  note(counters.late_batches, "batches left out: their step was over");
  note(counters.twice, "tokens choose an expert twice in a layer");
}

// One log in the second pass.
struct Reader {
  std::unique_ptr<CaptureLog> log;
  std::int64_t step = 0;            // the greatest so far
  std::vector<std::uint32_t> tags;  // of the sink, per tag of the log
  bool ended = false;
};

void join_logs(const ImportJob& job, CaptureJoin& join, TokenSink& sink) {
  std::vector<Reader> readers;
  for (const std::string& path : paths_of(job)) {
    readers.emplace_back().log = std::make_unique<CaptureLog>(path, on_damage(job));
  }
  const auto behind = [](const Reader& a, const Reader& b) {
    return a.ended != b.ended ? b.ended : a.step < b.step;
  };
  for (;;) {
    const auto at = std::min_element(readers.begin(), readers.end(), behind);
    Reader& reader = *at;
    if (reader.ended) break;
    join.close_before(reader.step - kOpenSteps);
    const CaptureItem item = reader.log->next();
    if (item == CaptureItem::kEnd) {
      reader.ended = true;
    } else if (item == CaptureItem::kDrops) {
      join.add(reader.log->drops());
    } else {
      CaptureBatch batch = reader.log->batch();
      reader.step = std::max(reader.step, batch.step);
      if (!wanted(job, batch.step)) continue;
      while (!batch.tags.empty() && reader.tags.size() < reader.log->tags().size()) {
        reader.tags.push_back(sink.tag(reader.log->tags()[reader.tags.size()]));
      }
      for (std::uint32_t& tag : batch.tags) tag = reader.tags[tag];
      join.add(batch, static_cast<std::size_t>(at - readers.begin()));
    }
  }
  join.finish();
}

}  // namespace

bool sniff_capture_log(std::string_view, std::string_view head) {
  return head.starts_with(MOE_CAPTURE_MAGIC);
}

ImportReport import_capture_log(const ImportJob& job) {
  Survey survey = survey_logs(job);
  if (!survey.any) {
    throw Error(Place{job.path},
                job.options.steps ? "there is no token in these steps" : "this log has no tokens");
  }
  if (job.options.keep == "requests" && !survey.seen.requests) {
    throw Error(Place{job.path}, "--keep requests: this log has no requests and positions");
  }
  if (survey.top_k == 0) throw Error(Place{job.path}, "no token chooses any expert");
  note_columns(survey);
  if (survey.seen.requests) {
    survey.notes.emplace_back(keeps_requests(job, survey)
                                  ? "requests and positions are kept, steps are not (--keep steps)"
                                  : "steps are kept, requests and positions are not");
  }
  ImportJob sink_job = job;
  TraceHeader header = trace_header(job, survey);
  if (job.options.steps) {
    header.provenance += "; only steps " + to_text(*job.options.steps);
    sink_job.options.steps.reset();
  }
  TokenSink sink(sink_job, header);
  std::vector<int> layer_of;
  int kept = 0;
  for (const bool seen : survey.layer_seen) layer_of.push_back(seen ? kept++ : -1);
  CaptureJoin::Columns columns = survey.seen;
  columns.requests = keeps_requests(job, survey);
  CaptureJoin join(layer_of, kept, columns, [&](const TokenRow& row) { sink.append(row); });
  join_logs(job, join, sink);

  ImportReport report;
  report.notes = survey.notes;
  note_left_out(join.counters(), report.notes);
  if (join.counters().tokens == 0) {
    std::string why;
    for (const std::string& note : report.notes) why += (why.empty() ? "" : "; ") + note;
    throw Error(Place{job.path}, "no token of this log is whole", why);
  }
  sink.finish();
  report.model = header.model;
  report.rows = sink.rows();
  return report;
}

}  // namespace sim
