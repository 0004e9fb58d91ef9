#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <system_error>
#include <utility>

#include "sim/core/error.h"
#include "sim/input/utf8.h"
#include "traces/trace_file.h"
#include "traces/trace_frame.h"
#include "traces/trace_messages.h"

namespace sim {
namespace {

constexpr int kMostRowsPerChunk = 16384;
constexpr std::int64_t kChunkTargetBytes = 8 << 20;  // raw; keeps reader and writer small
constexpr std::size_t kHistogramsPerChunk = 1024;
constexpr std::size_t kCountsPerChunk = 1 << 20;
// A trace is read again by its place, which a device or a pipe cannot do.
const std::string& regular(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::file_status status = std::filesystem::status(path, ignored);
  if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status) &&
      !std::filesystem::is_directory(status)) {
    throw Error(Place{path}, "cannot be written: it is a device or a pipe", "name a file");
  }
  return path;
}

constexpr std::int64_t kMostChoicesInAll = std::int64_t{1} << 62;  // as the reader accepts

}  // namespace

std::size_t TokenChunk::bytes() const {
  return choices.capacity() + 4 * (choice_begin.capacity() + gate_weights.capacity()) +
         8 * (step.capacity() + request.capacity() + position.capacity() + token_id.capacity()) +
         4 * (source_rank.capacity() + tag.capacity() + round.capacity());
}

void check_header(const TraceHeader& header, const std::string& file) {
  const auto refuse = [&](const std::string& what) { throw Error(Place{file}, what); };
  if (header.experts.empty() || header.layers() > kMostLayers) {
    refuse("a trace has 1 to " + std::to_string(kMostLayers) + " routed layers, not " +
           std::to_string(header.layers()));
  }
  for (const int experts : header.experts) {
    if (experts < 1 || experts > kMostExperts) {
      refuse("a layer has 1 to " + std::to_string(kMostExperts) + " experts, not " +
             std::to_string(experts));
    }
  }
  if (!header.layer_numbers.empty() && header.layer_numbers.size() != header.experts.size()) {
    refuse("there are " + std::to_string(header.layer_numbers.size()) + " layer numbers for " +
           std::to_string(header.layers()) + " routed layers");
  }
  if (header.top_k < 1 || header.top_k > kMostChoices) {
    refuse("top-k is 1 to " + std::to_string(kMostChoices) + ", not " +
           std::to_string(header.top_k));
  }
  for (const int number : header.layer_numbers) {
    if (number < 0 || number > kMostLayerNumber) {
      refuse("a layer number is 0 to " + std::to_string(kMostLayerNumber) + ", not " +
             std::to_string(number));
    }
  }
  // Protobuf would write it and then refuse to read it.
  if (!is_utf8(header.model)) refuse("the name of the model is not UTF-8");
  if (!is_utf8(header.provenance)) refuse("the provenance is not UTF-8");
}

TraceWriter::TraceWriter(std::string path, TraceHeader header, int zstd_level)
    : path_(std::move(path)),
      whole_(regular(path_)),
      header_(std::move(header)),
      level_(zstd_level) {
  check_header(header_, path_);
  const std::int64_t per_row = 64 + std::int64_t{header_.layers()} *
                                        (1 + header_.top_k * (header_.has_gate_weights ? 6 : 2));
  rows_per_chunk_ =
      static_cast<int>(std::clamp<std::int64_t>(kChunkTargetBytes / per_row, 1, kMostRowsPerChunk));
  file_.open(whole_.name(), std::ios::binary | std::ios::trunc);
  if (!file_) throw Error(Place{path_}, "cannot write this file");
  std::string preamble(kTraceMagic);
  put_u32(preamble, kTraceVersion);
  write_bytes(preamble.data(), preamble.size());
  write_frame(kHeaderFrame, encode_header(header_));
}

TraceWriter::~TraceWriter() = default;

std::uint32_t TraceWriter::tag(std::string_view name) {
  if (!is_utf8(name)) {
    throw Error(Place{path_}, "token " + std::to_string(index_.rows) + ": its tag is not UTF-8",
                "write the file to import as UTF-8");
  }
  const auto [found, added] =
      tag_numbers_.try_emplace(std::string(name), static_cast<std::uint32_t>(index_.tags.size()));
  if (added) index_.tags.emplace_back(name);
  return found->second;
}

void TraceWriter::check(const TokenRow& row) const {
  const auto refuse = [&](const std::string& what) {
    throw Error(Place{path_}, "token " + std::to_string(index_.rows) + ": " + what);
  };
  const std::size_t layers = header_.experts.size();
  if (!row.choice_counts.empty() && row.choice_counts.size() != layers) {
    refuse("it has " + std::to_string(row.choice_counts.size()) + " counts for " +
           std::to_string(layers) + " layers");
  }
  std::size_t next = 0;
  for (std::size_t layer = 0; layer < layers; ++layer) {
    const int count = row.choice_counts.empty() ? header_.top_k : row.choice_counts[layer];
    if (count > header_.top_k) {
      refuse("it has " + std::to_string(count) + " choices in layer " + std::to_string(layer) +
             ", top-k is " + std::to_string(header_.top_k));
    }
    for (int i = 0; i < count; ++i, ++next) {
      if (next >= row.choices.size()) refuse("it has fewer choices than its counts say");
      if (row.choices[next] >= header_.experts[layer]) {
        refuse("expert " + std::to_string(row.choices[next]) + " in layer " +
               std::to_string(layer) + ", which has " + std::to_string(header_.experts[layer]) +
               " experts");
      }
    }
  }
  if (next != row.choices.size()) refuse("it has more choices than its counts say");
  if (header_.has_gate_weights && row.gate_weights.size() != row.choices.size()) {
    refuse("it has " + std::to_string(row.gate_weights.size()) + " gate weights for " +
           std::to_string(row.choices.size()) + " choices");
  }
  if (row.step < 0 || row.source_rank < 0 || row.request < 0 || row.position < 0) {
    refuse("step, source rank, request and position must not be negative");
  }
  if (header_.has_tags && row.tag >= index_.tags.size()) refuse("its tag has no name");
}

void TraceWriter::append(const TokenRow& row) {
  SIM_CHECK(header_.kind == TraceKind::kTokens, "tokens go into a trace of tokens");
  SIM_CHECK(!finished_, "a finished trace takes no more rows");
  check(row);
  if (header_.has_steps) {
    chunk_.step.push_back(row.step);
    chunk_.source_rank.push_back(row.source_rank);
  } else {
    chunk_.request.push_back(row.request);
    chunk_.position.push_back(row.position);
  }
  if (header_.has_token_ids) chunk_.token_id.push_back(row.token_id);
  if (header_.has_tags) chunk_.tag.push_back(row.tag);
  if (header_.has_rounds) chunk_.round.push_back(row.round);
  if (header_.has_gate_weights) {
    chunk_.gate_weights.insert(chunk_.gate_weights.end(), row.gate_weights.begin(),
                               row.gate_weights.end());
  }
  row_choices_.insert(row_choices_.end(), row.choices.begin(), row.choices.end());
  for (std::size_t layer = 0; layer < header_.experts.size(); ++layer) {
    const int count = row.choice_counts.empty() ? header_.top_k : row.choice_counts[layer];
    row_counts_.push_back(static_cast<std::uint8_t>(count));
    counts_vary_ = counts_vary_ || count != header_.top_k;
  }
  index_.choices += static_cast<std::int64_t>(row.choices.size());
  ++index_.rows;
  if (++chunk_.rows == rows_per_chunk_) flush();
}

void TraceWriter::append(const CountRow& row) {
  SIM_CHECK(header_.kind == TraceKind::kCounts, "histograms go into a trace of counts");
  SIM_CHECK(!finished_, "a finished trace takes no more rows");
  const auto refuse = [&](const std::string& what) {
    throw Error(Place{path_}, "histogram " + std::to_string(index_.rows) + ": " + what);
  };
  if (row.layer < 0 || row.layer >= header_.layers()) {
    refuse("layer " + std::to_string(row.layer) + " of " + std::to_string(header_.layers()));
  }
  const int experts = header_.experts[static_cast<std::size_t>(row.layer)];
  if (row.counts.size() != static_cast<std::size_t>(experts)) {
    refuse(std::to_string(row.counts.size()) + " counts for " + std::to_string(experts) +
           " experts");
  }
  if (row.step < 0 || row.tokens < 0) refuse("step and tokens must not be negative");
  if (header_.has_tags ? row.tag >= index_.tags.size() : row.tag != 0) {
    refuse("its tag has no name");
  }
  constexpr std::int64_t kMostCount = std::int64_t{1} << 53;
  std::int64_t sum = 0;
  for (const std::int64_t count : row.counts) {
    if (count < 0 || count > kMostCount - sum) refuse("counts below 0 or above 2^53 in all");
    sum += count;
  }
  if (index_.choices > kMostChoicesInAll - sum) refuse("more than 2^62 choices in all");
  histograms_.push_back(row);
  pending_counts_ += row.counts.size();
  index_.choices += sum;
  ++index_.rows;
  if (histograms_.size() == kHistogramsPerChunk || pending_counts_ >= kCountsPerChunk) flush();
}

void TraceWriter::flush() {
  const bool tokens = header_.kind == TraceKind::kTokens;
  ChunkPlace place;
  place.offset = offset_;
  place.rows = tokens ? chunk_.rows : static_cast<int>(histograms_.size());
  if (place.rows == 0) return;
  place.first_row = index_.rows - place.rows;
  if (tokens) {
    const auto& steps = header_.has_steps ? chunk_.step : chunk_.request;
    const auto [least, most] = std::minmax_element(steps.begin(), steps.end());
    place.first_step = *least;
    place.last_step = *most;
    if (!counts_vary_) row_counts_.clear();
    write_frame(kChunkFrame, encode_tokens(header_, chunk_, row_choices_, row_counts_));
  } else {
    const auto [least, most] =
        std::minmax_element(histograms_.begin(), histograms_.end(),
                            [](const CountRow& a, const CountRow& b) { return a.step < b.step; });
    place.first_step = least->step;
    place.last_step = most->step;
    write_frame(kChunkFrame, encode_counts(histograms_));
  }
  index_.chunks.push_back(place);
  chunk_ = TokenChunk{};
  row_choices_.clear();
  row_counts_.clear();
  counts_vary_ = false;
  histograms_.clear();
  pending_counts_ = 0;
}

void TraceWriter::write_frame(std::uint32_t kind, const std::string& message) {
  if (message.size() > static_cast<std::size_t>(kMostRawChunkBytes)) {
    throw Error(Place{path_}, "a part of this trace is larger than 32 MiB",
                "shorten its provenance or its tags");
  }
  const std::string frame = make_frame(kind, message, level_);
  write_bytes(frame.data(), frame.size());
}

void TraceWriter::write_bytes(const char* data, std::size_t size) {
  if (!file_.write(data, static_cast<std::streamsize>(size))) {
    throw Error(Place{path_}, "cannot write to this file", "is the disk full?");
  }
  offset_ += size;
}

void TraceWriter::finish() {
  SIM_CHECK(!finished_, "a trace is finished once");
  flush();
  const std::uint64_t footer = offset_;
  write_frame(kFooterFrame, encode_footer(index_));
  std::string trailer;
  put_u64(trailer, footer);
  trailer += kTrailerMagic;
  write_bytes(trailer.data(), trailer.size());
  file_.close();
  if (!file_) throw Error(Place{path_}, "cannot finish this file", "is the disk full?");
  whole_.keep();
  finished_ = true;
}

}  // namespace sim
