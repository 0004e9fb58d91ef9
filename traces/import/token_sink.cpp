#include "traces/import/token_sink.h"

#include <fmt/format.h>

#include "sim/core/error.h"
#include "traces/import/histograms.h"

namespace sim {
namespace {

constexpr std::size_t kMostBytes = std::size_t{1} << 30;

TraceHeader kept_header(const ImportJob& job, TraceHeader header) {
  if (job.options.steps && !header.has_steps) {
    throw Error(Place{job.path}, "--steps: this file does not say which step a token belongs to",
                "of a file that says requests too, --keep steps keeps the steps");
  }
  if (job.options.steps) {
    header.provenance += fmt::format("; only steps {}", to_text(*job.options.steps));
  }
  if (job.options.without_token_ids && header.has_token_ids) {
    header.has_token_ids = false;
    header.provenance += "; token ids left out";
  }
  if (!job.options.counts) return header;
  header.kind = TraceKind::kCounts;
  header.has_gate_weights = header.has_token_ids = header.has_rounds = false;
  header.provenance += "; tokens counted at import";
  return header;
}

}  // namespace

TokenSink::TokenSink(const ImportJob& job, TraceHeader header)
    : job_(job), tokens_(std::move(header)), writer_(job.out, kept_header(job, tokens_)) {
  first_.push_back(0);
  for (const int experts : tokens_.experts) {
    first_.push_back(first_.back() + static_cast<std::size_t>(experts));
  }
}

std::uint32_t TokenSink::tag(std::string_view name) { return writer_.tag(name); }

void TokenSink::append(const TokenRow& row) {
  if (job_.options.steps && !job_.options.steps->holds(row.step)) return;
  ++kept_;
  if (job_.options.counts) {
    count(row);
  } else {
    writer_.append(row);
  }
}

void TokenSink::count(const TokenRow& row) {
  Cell& cell = cells_[{tokens_.has_steps ? row.step : 0, tokens_.has_tags ? row.tag : 0}];
  if (cell.counts.empty()) {
    if (cells_.size() > kMostBytes / (kCountCellBytes + 8 * first_.back())) {
      throw Error(Place{job_.path}, "the counts of its steps need more than 1 GiB",
                  "--steps FROM:TO:EVERY keeps some of them");
    }
    cell.counts.assign(first_.back(), 0);
  }
  ++cell.tokens;
  std::size_t next = 0;
  for (std::size_t layer = 0; layer < tokens_.experts.size(); ++layer) {
    const int choices = row.choice_counts.empty() ? tokens_.top_k : row.choice_counts[layer];
    for (int i = 0; i < choices; ++i, ++next) {
      const std::size_t expert = next < row.choices.size() ? row.choices[next] : first_.back();
      if (expert >= first_[layer + 1] - first_[layer]) {
        throw Error(Place{job_.path},
                    fmt::format("a token whose choices in layer {} are no experts of it", layer));
      }
      ++cell.counts[first_[layer] + expert];
    }
  }
}

void TokenSink::finish() {
  for (const auto& [key, cell] : cells_) {
    for (int layer = 0; layer < tokens_.layers(); ++layer) {
      const auto at = static_cast<std::size_t>(layer);
      CountRow row;
      row.step = key.first;
      row.tag = key.second;
      row.layer = layer;
      row.tokens = cell.tokens;
      row.counts.assign(cell.counts.begin() + static_cast<std::ptrdiff_t>(first_[at]),
                        cell.counts.begin() + static_cast<std::ptrdiff_t>(first_[at + 1]));
      writer_.append(row);
    }
  }
  writer_.finish();
}

}  // namespace sim
