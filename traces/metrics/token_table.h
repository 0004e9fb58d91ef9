// The tokens of a trace in the order in which they follow one another: what every metric of routing
// reads.
//
// A *sequence* is what a token has neighbours in: a request, its positions in order; in a trace
// with recorded steps, the tokens of one source rank in one step, in the order of the file. A
// *unit* is what a trace is cut by: a request, or a step with all its ranks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "traces/trace_format.h"

namespace sim {

// The choices of all tokens in one layer, token after token.
struct LayerTokens {
  int experts = 0;
  int top_k = 0;
  std::int64_t tokens = 0;
  std::vector<std::uint16_t> choices;
  std::vector<std::int64_t> begin;  // tokens + 1; empty: every token has top_k choices

  std::span<const std::uint16_t> of(std::int64_t token) const {
    const auto t = static_cast<std::size_t>(token);
    const auto k = static_cast<std::size_t>(top_k);
    if (begin.empty()) return {choices.data() + t * k, k};
    const auto first = static_cast<std::size_t>(begin[t]);
    return {choices.data() + first, static_cast<std::size_t>(begin[t + 1]) - first};
  }
};

// Sequence i holds the tokens [begin[i], begin[i + 1]).
struct Sequences {
  std::vector<std::int64_t> begin = {0};
  std::vector<std::int64_t> unit;  // request or step of each sequence, not falling

  std::int64_t count() const { return static_cast<std::int64_t>(unit.size()); }
  std::int64_t tokens() const { return begin.back(); }
};

// Which units of a trace take part. `parts` > 1 deals the units out: part 0 of 2 and part 1 of 2
// share no unit and together are the trace.
struct TraceRange {
  enum class Deal {
    kInOrder,    // equal runs of units, the first to part 0
    kAlternate,  // unit i to part i mod parts
    kSeeded,     // the units are shuffled by `seed`, then dealt in turn
  };
  int part = 0;
  int parts = 1;
  Deal deal = Deal::kSeeded;
  std::uint64_t seed = 1;
  std::string tag;  // only tokens of this tag; "": all
};

// Which of `units` units, in their order, the range keeps.
std::vector<bool> dealt_units(std::size_t units, const TraceRange& range);
class TraceReader;
// Throws Error with a suggestion: no such tag, or no tags.
std::uint32_t tag_number(const TraceReader& reader, const std::string& tag);

class TokenTable {
 public:
  static constexpr std::int64_t kDefaultBudget = std::int64_t{2} << 30;

  // Reads the whole file. Throws Error: a trace of counts, a damaged file, an unknown tag, no token
  // in the range, or a trace that needs more than `budget` bytes (checked before it is read).
  explicit TokenTable(const std::string& path, const TraceRange& range = {},
                      std::int64_t budget = kDefaultBudget);

  const TraceHeader& header() const { return header_; }
  const std::string& path() const { return path_; }
  const Sequences& sequences() const { return sequences_; }
  std::int64_t tokens() const { return sequences_.tokens(); }
  const std::vector<std::string>& tag_names() const { return tag_names_; }
  // Of each token; empty without tags.
  const std::vector<std::uint32_t>& tags() const { return tags_; }
  LayerTokens layer(int layer) const;  // O(tokens); REQUIRES: a routed layer
  // Gate weights beside LayerTokens::choices; empty when the trace has none.
  std::vector<float> layer_weights(int layer) const;

 private:
  struct TokenPlace {
    std::int64_t unit = 0;  // step or request
    std::int64_t rank = 0;  // source rank, 0 for requests
    std::int64_t position = 0;
    std::uint32_t chunk = 0;
    std::int32_t row = 0;  // in its chunk
    std::uint32_t tag = 0;
  };
  void read(const TraceRange& range, std::int64_t budget);
  void keep_part(const TraceRange& range);

  std::string path_;
  TraceHeader header_;
  std::vector<std::string> tag_names_;
  std::vector<TokenChunk> held_;    // choices and weights only
  std::vector<TokenPlace> places_;  // in the order of the sequences
  std::vector<std::uint32_t> tags_;
  Sequences sequences_;
};

}  // namespace sim
