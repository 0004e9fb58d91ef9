// The tokens of a trace in memory, sequence by sequence: what a fit reads again and again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "traces/trace_format.h"

namespace sim {

// Consecutive tokens of one request, or of one source rank in one step, with one tag.
struct TokenSequence {
  std::size_t first_token = 0;
  std::int64_t tokens = 0;
  std::uint32_t tag = 0;
  std::int64_t step = 0;  // with recorded steps
  std::int32_t source_rank = 0;
  std::int64_t request = 0;  // without
  std::int64_t first_position = 0;
};

struct TokenSequences {
  TraceHeader header;
  std::vector<std::string> tags;
  std::vector<TokenSequence> sequences;  // in the order of their first tokens in the file
  std::vector<std::uint16_t> choices;    // [token][layer][top_k]

  std::size_t layers() const { return header.experts.size(); }
  std::size_t top_k() const { return static_cast<std::size_t>(header.top_k); }
  std::size_t tokens() const { return choices.size() / (layers() * top_k()); }
  const std::uint16_t* at(std::size_t token, std::size_t layer) const {
    return choices.data() + (token * layers() + layer) * top_k();
  }
};

// Throws Error: a damaged file, a trace of counts, tokens with varying numbers of choices, or a
// trace that needs more than 2 GiB while its tokens are sorted.
TokenSequences read_sequences(const std::string& path);
// Bytes held while so many tokens with so many choices are sorted: both copies of the choices.
std::uint64_t bytes_to_read(std::uint64_t rows, std::uint64_t choices);

// The request of each sequence (the step, where there are steps), numbered as they first come: one
// request may be several sequences, with a tag each.
std::vector<std::size_t> units_of(const std::vector<TokenSequence>& sequences, bool has_steps);

// One of two halves of a trace: of every two consecutive requests (of recorded steps, where the
// trace has them) a seeded coin gives one to each half, so that both see the whole course.
TokenSequences half_of(const TokenSequences& all, bool second, std::uint64_t seed);

// As a .moetrace with the tokens' requests, positions, steps, ranks and tags. Throws Error.
void write_sequences(const TokenSequences& tokens, const std::string& provenance,
                     const std::string& path);

}  // namespace sim
