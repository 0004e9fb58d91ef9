#include <algorithm>
#include <filesystem>
#include <limits>
#include <system_error>
#include <utility>

#include "sim/core/error.h"
#include "traces/trace_file.h"
#include "traces/trace_frame.h"
#include "traces/trace_messages.h"

namespace sim {

TraceReader::TraceReader(std::string path) : path_(std::move(path)) {
  std::error_code failed;
  if (!std::filesystem::is_regular_file(path_, failed)) {
    throw Error(Place{path_}, "there is no such file", "a trace is a .moetrace file");
  }
  file_.open(path_, std::ios::binary | std::ios::ate);
  if (!file_) throw Error(Place{path_}, "cannot read this file");
  size_ = static_cast<std::uint64_t>(file_.tellg());
  read_header();
  read_footer();
}

void TraceReader::fail(std::uint64_t offset, std::string message, std::string hint) const {
  throw Error(Place{path_}, "at byte " + std::to_string(offset) + ": " + std::move(message),
              std::move(hint));
}

void TraceReader::read_bytes(std::uint64_t offset, char* to, std::size_t size, const char* what) {
  if (offset > size_ || size > size_ - offset) {
    fail(size_, std::string("the file ends inside ") + what, "the file is cut short");
  }
  file_.clear();
  file_.seekg(static_cast<std::streamoff>(offset));
  if (!file_.read(to, static_cast<std::streamsize>(size))) {
    fail(offset, std::string("cannot read ") + what);
  }
}

TraceReader::Frame TraceReader::read_frame(std::uint64_t offset, std::uint64_t limit,
                                           const char* what) {
  char bytes[kFrameHeadBytes];
  read_bytes(offset, bytes, kFrameHeadBytes, what);
  const FrameHead head = parse_frame_head(bytes);
  const std::uint64_t end = offset + kFrameHeadBytes + head.stored;
  if (head.raw > static_cast<std::uint64_t>(kMostRawChunkBytes) || end > limit) {
    fail(offset, std::string(what) + " has an impossible size", "the file is damaged");
  }
  std::string stored(head.stored, '\0');
  read_bytes(offset + kFrameHeadBytes, stored.data(), stored.size(), what);
  Frame frame;
  frame.kind = head.kind;
  frame.end = end;
  if (frame_crc(head, stored) != head.crc || !decompress_frame(head, stored, frame.raw)) {
    fail(offset, std::string("the checksum of ") + what + " is wrong", "the file is damaged");
  }
  return frame;
}

void TraceReader::read_header() {
  char preamble[kPreambleBytes];
  const std::uint64_t compared = std::min<std::uint64_t>(size_, kTraceMagic.size());
  read_bytes(0, preamble, compared, "its magic");
  if (std::string_view(preamble, compared) != kTraceMagic.substr(0, compared) || compared == 0) {
    fail(0, "not a .moetrace file", "`simulate trace import` reads other formats");
  }
  read_bytes(0, preamble, kPreambleBytes, "its version");
  const std::uint32_t version = get_u32(preamble + kTraceMagic.size());
  if (version != kTraceVersion) {
    fail(kTraceMagic.size(),
         "version " + std::to_string(version) + " of the format, this program reads version " +
             std::to_string(kTraceVersion),
         version > kTraceVersion ? "a newer program wrote it" : "the file is damaged");
  }
  const Frame frame = read_frame(kPreambleBytes, size_, "the header");
  if (frame.kind != kHeaderFrame) fail(kPreambleBytes, "no header where one must be");
  const std::string wrong = decode_header(frame.raw, header_);
  if (!wrong.empty()) fail(kPreambleBytes, "the header is wrong: " + wrong);
  check_header(header_, path_);
  first_chunk_ = frame.end;
}

void TraceReader::read_footer() {
  char trailer[kTrailerBytes];
  const bool room = size_ >= first_chunk_ + kTrailerBytes;
  if (room) read_bytes(size_ - kTrailerBytes, trailer, kTrailerBytes, "the trailer");
  if (!room || std::string_view(trailer + 8, kTrailerMagic.size()) != kTrailerMagic) {
    fail(size_, "no index at the end",
         "its writer did not finish, or the file is cut short: write it again");
  }
  footer_ = get_u64(trailer);
  if (footer_ < first_chunk_ || footer_ > size_ - kTrailerBytes) {
    fail(size_ - kTrailerBytes, "the index lies outside the file", "the file is damaged");
  }
  const Frame frame = read_frame(footer_, size_ - kTrailerBytes, "the index");
  if (frame.kind != kFooterFrame || frame.end != size_ - kTrailerBytes) {
    fail(footer_, "no index where one must be", "the file is damaged");
  }
  const std::string wrong = decode_footer(frame.raw, index_);
  if (!wrong.empty()) fail(footer_, "the index is wrong: " + wrong);
  std::uint64_t before = first_chunk_;
  for (const ChunkPlace& place : index_.chunks) {
    if (place.offset < before || place.offset >= footer_ ||
        footer_ - place.offset < kFrameHeadBytes) {
      fail(footer_, "the index is wrong: a chunk at byte " + std::to_string(place.offset));
    }
    before = place.offset + kFrameHeadBytes;
  }
}

TokenChunk TraceReader::read_chunk(std::size_t chunk) {
  SIM_CHECK(header_.kind == TraceKind::kTokens, "only a trace of tokens has rows of tokens");
  SIM_CHECK(chunk < index_.chunks.size(), "a chunk of this trace");
  const ChunkPlace& place = index_.chunks[chunk];
  const Frame frame = read_frame(place.offset, footer_, "a chunk");
  if (frame.kind != kChunkFrame) fail(place.offset, "no chunk where one must be");
  TokenChunk tokens;
  std::string wrong = decode_tokens(frame.raw, header_, index_.tags.size(), tokens);
  if (wrong.empty() && tokens.rows != place.rows) {
    wrong = std::to_string(tokens.rows) + " rows, the index says " + std::to_string(place.rows);
  }
  if (!wrong.empty()) fail(place.offset, "the chunk is wrong: " + wrong, "the file is damaged");
  tokens.first_row = place.first_row;
  return tokens;
}

std::vector<CountRow> TraceReader::read_histograms(std::size_t chunk) {
  SIM_CHECK(header_.kind == TraceKind::kCounts, "only a trace of counts has histograms");
  SIM_CHECK(chunk < index_.chunks.size(), "a chunk of this trace");
  const ChunkPlace& place = index_.chunks[chunk];
  const Frame frame = read_frame(place.offset, footer_, "a chunk");
  if (frame.kind != kChunkFrame) fail(place.offset, "no chunk where one must be");
  std::vector<CountRow> rows;
  std::string wrong = decode_counts(frame.raw, header_, index_.tags.size(), rows);
  if (wrong.empty() && rows.size() != static_cast<std::size_t>(place.rows)) {
    wrong = std::to_string(rows.size()) + " rows, the index says " + std::to_string(place.rows);
  }
  if (!wrong.empty()) fail(place.offset, "the chunk is wrong: " + wrong, "the file is damaged");
  return rows;
}

bool TraceReader::next(TokenChunk& chunk) {
  if (next_chunk_ == index_.chunks.size()) return false;
  chunk = read_chunk(next_chunk_++);
  return true;
}

bool TraceReader::next(std::vector<CountRow>& histograms) {
  if (next_chunk_ == index_.chunks.size()) return false;
  histograms = read_histograms(next_chunk_++);
  return true;
}

void TraceReader::seek(std::int64_t row) {
  if (row < 0 || row >= index_.rows) {
    throw Error(Place{path_}, "there is no row " + std::to_string(row) + ": the trace has " +
                                  std::to_string(index_.rows));
  }
  const auto after = std::upper_bound(
      index_.chunks.begin(), index_.chunks.end(), row,
      [](std::int64_t wanted, const ChunkPlace& place) { return wanted < place.first_row; });
  next_chunk_ = static_cast<std::size_t>(after - index_.chunks.begin()) - 1;
}

}  // namespace sim
