// Reads the log of traces/capture frame by frame (moe_capture.h describes its form), gzipped or
// not. What comes out is checked: sizes, checksums, and every id, count and tag.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace sim {

struct CaptureHeader {
  std::string model;
  std::string provenance;
  std::vector<int> experts;  // per routed layer
  std::vector<int> layer_numbers;
  int top_k = 0;
  bool weights = false, token_ids = false, tags = false, requests = false;
};

// Tokens of one (step, source rank) in one layer. A column that was not given is empty.
struct CaptureBatch {
  std::int64_t step = 0;
  int layer = 0;
  std::int32_t source_rank = 0;
  std::uint32_t tokens = 0;
  std::vector<std::uint16_t> choices;       // token after token
  std::vector<std::uint8_t> choice_counts;  // per token
  std::vector<float> weights;               // as choices
  std::vector<std::int64_t> token_ids, requests, positions;
  std::vector<std::uint32_t> tags;  // index into CaptureLog::tags()
};

// Batches that the log lacks, and where they may have been.
struct CaptureDrops {
  bool write_error = false;  // else the buffer was full
  std::uint64_t batches = 0, tokens = 0, choices = 0;
  std::int64_t first_step = 0, last_step = 0;
  std::int64_t first_layer = 0, last_layer = 0, first_rank = 0, last_rank = 0;
};

enum class CaptureItem { kBatch, kDrops, kEnd };

class CaptureLog {
 public:
  enum class OnDamage { kThrow, kStop };

  // Throws Error: the file cannot be read, is no such log, or is cut before its header ends.
  CaptureLog(std::string path, OnDamage on_damage);
  ~CaptureLog();
  CaptureLog(const CaptureLog&) = delete;
  CaptureLog& operator=(const CaptureLog&) = delete;

  const std::string& path() const { return path_; }
  const CaptureHeader& header() const { return header_; }
  const std::vector<std::string>& tags() const { return tags_; }

  // kEnd after the last whole frame. Throws Error with the byte offset at a damaged frame, unless
  // told to stop there.
  CaptureItem next();
  const CaptureBatch& batch() const { return batch_; }
  const CaptureDrops& drops() const { return drops_; }

  // After kEnd.
  bool closed() const { return closed_; }                // the host closed the log
  std::int64_t cut_bytes() const { return cut_bytes_; }  // of a last frame that is not whole
  const std::string& damage() const { return damage_; }  // where it stopped, and why

 private:
  struct File;
  struct Frame;
  [[noreturn]] void fail(const std::string& what) const;
  bool read_frame(Frame& frame);
  void read_header(Frame& frame);
  void read_tag(Frame& frame);
  void read_batch(Frame& frame);
  void read_drops(Frame& frame);

  std::string path_;
  OnDamage on_damage_;
  std::unique_ptr<File> file_;
  std::int64_t offset_ = 0;  // of the current frame, in the unzipped log
  CaptureHeader header_;
  std::vector<std::string> tags_;
  CaptureBatch batch_;
  CaptureDrops drops_;
  bool closed_ = false;
  bool ended_ = false;
  std::int64_t cut_bytes_ = 0;
  std::string damage_;
};

}  // namespace sim
