// A routing trace as values: what its header says, a token's row, a chunk of rows, a histogram.
//
// A trace stores what was recorded, before any capacity is applied. Layers are routed layers,
// counted from 0; `layer_numbers` holds the model's own numbers. Which step a token belongs to is
// stored only when the recorder knew it, else its (request, position).
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace sim {

enum class TraceKind { kTokens, kCounts };

struct TraceHeader {
  TraceKind kind = TraceKind::kTokens;
  std::string model;
  std::string provenance;
  std::vector<int> experts;        // per routed layer, 1..65536
  std::vector<int> layer_numbers;  // empty: 0, 1, 2, ...
  int top_k = 0;                   // most choices of a token in a layer, 1..255
  bool has_steps = false;          // (step, source rank), else (request, position)
  bool has_gate_weights = false;
  bool has_token_ids = false;
  bool has_tags = false;
  bool has_rounds = false;
  bool counts_are_fractions = false;  // kCounts: scaled fractions, the totals mean nothing

  int layers() const { return static_cast<int>(experts.size()); }
  int layer_number(int layer) const {
    return layer_numbers.empty() ? layer : layer_numbers[static_cast<std::size_t>(layer)];
  }
  bool operator==(const TraceHeader&) const = default;
};

// One token to be written. `choices` holds layer after layer; `choice_counts` has one entry per
// layer, or is empty when every layer has exactly top_k.
struct TokenRow {
  std::int64_t step = 0;
  std::int32_t source_rank = 0;
  std::int64_t request = 0;
  std::int64_t position = 0;
  std::int64_t token_id = 0;
  std::uint32_t tag = 0;  // from TraceWriter::tag
  std::uint32_t round = 0;
  std::span<const std::uint16_t> choices;
  std::span<const std::uint8_t> choice_counts;
  std::span<const float> gate_weights;  // as long as choices when the header has them
};

// The choices of one layer over the rows of a chunk, as stored: no copy.
class ChoiceColumn {
 public:
  ChoiceColumn(const char* bytes, int width, int fixed, const std::uint32_t* begin)
      : bytes_(bytes), begin_(begin), width_(width), fixed_(fixed) {}

  int width() const { return width_; }  // bytes per choice, 1 or 2
  const char* bytes() const { return bytes_; }
  bool all_equal() const { return begin_ == nullptr; }
  int fixed() const { return fixed_; }  // choices per token when all_equal()
  int count(int row) const {
    return begin_ == nullptr ? fixed_ : static_cast<int>(begin_[row + 1] - begin_[row]);
  }
  std::size_t begin(int row) const {
    return begin_ == nullptr ? static_cast<std::size_t>(row) * static_cast<std::size_t>(fixed_)
                             : begin_[row] - begin_[0];
  }
  std::uint16_t at(std::size_t index) const {
    if (width_ == 1) return static_cast<unsigned char>(bytes_[index]);
    std::uint16_t value;
    std::memcpy(&value, bytes_ + 2 * index, 2);
    return value;
  }

 private:
  const char* bytes_;
  const std::uint32_t* begin_;
  int width_;
  int fixed_;
};

// Some thousand consecutive tokens. A column that the header does not announce is empty.
struct TokenChunk {
  std::int64_t first_row = 0;
  int rows = 0;
  int layers = 0;
  int top_k = 0;
  int width = 1;
  std::vector<std::int64_t> step;
  std::vector<std::int32_t> source_rank;
  std::vector<std::int64_t> request;
  std::vector<std::int64_t> position;
  std::vector<std::int64_t> token_id;
  std::vector<std::uint32_t> tag;
  std::vector<std::uint32_t> round;
  std::vector<std::uint32_t> choice_begin;  // layers * rows + 1, layer-major; empty: all top_k
  std::string choices;                      // layer-major, `width` bytes each
  std::vector<float> gate_weights;

  std::size_t first_choice(int layer) const {
    const std::size_t cell = static_cast<std::size_t>(layer) * static_cast<std::size_t>(rows);
    return choice_begin.empty() ? cell * static_cast<std::size_t>(top_k) : choice_begin[cell];
  }
  std::size_t choices_of(int layer) const { return first_choice(layer + 1) - first_choice(layer); }
  ChoiceColumn column(int layer) const {
    const std::size_t cell = static_cast<std::size_t>(layer) * static_cast<std::size_t>(rows);
    return {choices.data() + first_choice(layer) * static_cast<std::size_t>(width), width, top_k,
            choice_begin.empty() ? nullptr : choice_begin.data() + cell};
  }
  std::size_t bytes() const;  // of memory held
};

// How often each expert of a layer was chosen, in one step (0 when not recorded) and tag.
struct CountRow {
  std::int64_t step = 0;
  std::uint32_t tag = 0;
  int layer = 0;
  std::int64_t tokens = 0;  // 0: not known
  std::vector<std::int64_t> counts;
  bool operator==(const CountRow&) const = default;
};

// Where a chunk lies and which rows it holds.
struct ChunkPlace {
  std::uint64_t offset = 0;
  std::int64_t first_row = 0;
  int rows = 0;
  std::int64_t first_step = 0;  // least and greatest step, or request where there are no steps
  std::int64_t last_step = 0;
};

struct TraceIndex {
  std::vector<ChunkPlace> chunks;
  std::vector<std::string> tags;
  std::int64_t rows = 0;     // tokens, or histograms
  std::int64_t choices = 0;  // of all tokens, or the sum of all counts
};

}  // namespace sim
