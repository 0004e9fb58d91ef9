// Values of a trace to the bytes of their Protobuf messages and back. Protobuf stays in the .cpp.
//
// Every decode_... returns what is wrong with the message, or "" when it is sound: the reader adds
// file and byte offset. Nothing in a decoded value is out of range.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "traces/trace_format.h"

namespace sim {

inline constexpr int kMostLayerNumber = 1'000'000;

std::string encode_header(const TraceHeader& header);
std::string decode_header(const std::string& bytes, TraceHeader& header);

// `choices` and `counts` are row-major: as many rows as the columns of `chunk` have, `counts` one
// per (row, layer) and empty when all are top_k.
std::string encode_tokens(const TraceHeader& header, const TokenChunk& chunk,
                          std::span<const std::uint16_t> choices,
                          std::span<const std::uint8_t> counts);
std::string decode_tokens(const std::string& bytes, const TraceHeader& header,
                          std::size_t tag_count, TokenChunk& chunk);

std::string encode_counts(const std::vector<CountRow>& rows);
std::string decode_counts(const std::string& bytes, const TraceHeader& header,
                          std::size_t tag_count, std::vector<CountRow>& rows);

std::string encode_footer(const TraceIndex& index);
std::string decode_footer(const std::string& bytes, TraceIndex& index);

}  // namespace sim
