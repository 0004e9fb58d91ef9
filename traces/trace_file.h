// Reads and writes .moetrace files, chunk by chunk in bounded memory.
//
// Layout: "MOETRACE", version (u32), frames, trailer. A frame is kind, stored size, raw size,
// CRC-32 (u32 each, little endian) and a zstd-compressed Protobuf message (trace.proto): one
// header, chunks, one footer. The trailer is the footer's offset (u64) and "MOEINDEX". The checksum
// covers kind, sizes and stored bytes, so every bit of a file is either checked or compared.
#pragma once

#include <cstdint>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "sim/input/whole_file.h"
#include "traces/trace_format.h"

namespace sim {

inline constexpr std::uint32_t kTraceVersion = 1;
inline constexpr int kMostLayers = 4096;
inline constexpr int kMostExperts = 65536;  // an expert id has at most two bytes
inline constexpr int kMostChoices = 255;    // a count of choices has one byte
inline constexpr std::int64_t kMostRawChunkBytes = 32 << 20;

// Throws Error when a header cannot be stored (no layers, top-k out of range, ...).
void check_header(const TraceHeader& header, const std::string& file);

// Writes under another name and moves it to PATH (a link's target) in finish(); an unfinished
// writer leaves nothing. Throws Error when PATH is a folder, a device or a pipe.
class TraceWriter {
 public:
  TraceWriter(std::string path, TraceHeader header, int zstd_level = 3);
  ~TraceWriter();
  TraceWriter(const TraceWriter&) = delete;
  TraceWriter& operator=(const TraceWriter&) = delete;

  const TraceHeader& header() const { return header_; }
  std::uint32_t tag(std::string_view name);  // the same name gives the same number
  // Throws Error on an expert out of range, a wrong number of choices, or a full disk.
  void append(const TokenRow& row);
  void append(const CountRow& row);
  void finish();
  std::int64_t rows() const { return index_.rows; }

 private:
  void check(const TokenRow& row) const;
  void flush();
  void write_frame(std::uint32_t kind, const std::string& message);
  void write_bytes(const char* data, std::size_t size);

  std::string path_;
  WholeFile whole_;
  TraceHeader header_;
  int level_;
  std::ofstream file_;
  std::uint64_t offset_ = 0;
  bool finished_ = false;
  int rows_per_chunk_ = 0;
  std::size_t pending_counts_ = 0;
  TraceIndex index_;
  std::unordered_map<std::string, std::uint32_t> tag_numbers_;  // looked up only, never iterated
  TokenChunk chunk_;  // rows as they come: choices row-major until flush() turns them
  std::vector<std::uint16_t> row_choices_;
  std::vector<std::uint8_t> row_counts_;
  bool counts_vary_ = false;
  std::vector<CountRow> histograms_;
};

// Every member throws Error naming file and byte offset when the file is not what it says it is.
class TraceReader {
 public:
  explicit TraceReader(std::string path);

  const std::string& path() const { return path_; }
  const TraceHeader& header() const { return header_; }
  const TraceIndex& index() const { return index_; }
  std::uint64_t file_bytes() const { return size_; }

  TokenChunk read_chunk(std::size_t chunk);                  // REQUIRES: kTokens
  std::vector<CountRow> read_histograms(std::size_t chunk);  // REQUIRES: kCounts

  // The next chunk in order; false after the last.
  bool next(TokenChunk& chunk);
  bool next(std::vector<CountRow>& histograms);
  // The next chunk is the one that holds `row`. Throws Error when there is no such row.
  void seek(std::int64_t row);

 private:
  struct Frame {
    std::uint32_t kind = 0;
    std::string raw;
    std::uint64_t end = 0;
  };
  [[noreturn]] void fail(std::uint64_t offset, std::string message, std::string hint = {}) const;
  void read_bytes(std::uint64_t offset, char* to, std::size_t size, const char* what);
  Frame read_frame(std::uint64_t offset, std::uint64_t limit, const char* what);
  void read_header();
  void read_footer();

  std::string path_;
  std::ifstream file_;
  std::uint64_t size_ = 0;
  std::uint64_t first_chunk_ = 0;
  std::uint64_t footer_ = 0;
  TraceHeader header_;
  TraceIndex index_;
  std::size_t next_chunk_ = 0;
};

}  // namespace sim
