// The chunk message of tokens: columns to bytes and back.
#include <google/protobuf/stubs/logging.h>
#include <trace.pb.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

#include "sim/core/error.h"
#include "traces/trace_file.h"
#include "traces/trace_messages.h"

namespace sim {
namespace {

static_assert(std::endian::native == std::endian::little,
              "columns are stored little endian and read in place");

template <class T, class Field>
void encode_deltas(const std::vector<T>& column, Field* field) {
  field->Reserve(static_cast<int>(column.size()));
  std::uint64_t before = 0;
  for (const T value : column) {
    const std::uint64_t now = static_cast<std::uint64_t>(static_cast<std::int64_t>(value));
    field->Add(static_cast<std::int64_t>(now - before));
    before = now;
  }
}

// An announced column has one entry per row, another none; false when it is neither or out of T.
template <class T, class Field>
bool decode_deltas(const Field& field, bool announced, int rows, std::int64_t least,
                   std::vector<T>& column) {
  column.clear();
  if (field.size() != (announced ? rows : 0)) return false;
  column.reserve(static_cast<std::size_t>(field.size()));
  std::uint64_t value = 0;  // unsigned: a hostile delta wraps instead of overflowing
  for (const std::int64_t delta : field) {
    value += static_cast<std::uint64_t>(delta);
    const std::int64_t sum = static_cast<std::int64_t>(value);
    if (sum < least || sum > std::numeric_limits<T>::max()) return false;
    column.push_back(static_cast<T>(sum));
  }
  return true;
}

template <class Field>
bool decode_numbers(const Field& field, bool announced, int rows,
                    std::vector<std::uint32_t>& column) {
  if (field.size() != (announced ? rows : 0)) return false;
  column.assign(field.begin(), field.end());
  return true;
}

int width_of(const TraceHeader& header) {
  const int most = *std::max_element(header.experts.begin(), header.experts.end());
  return most <= 256 ? 1 : 2;
}

// "" or what is wrong with the columns beside the choices.
std::string decode_columns(const trace::TokenChunk& message, const TraceHeader& header,
                           std::size_t tag_count, TokenChunk& chunk) {
  const bool steps = header.has_steps;
  const int rows = chunk.rows;
  if (!decode_deltas(message.step_delta(), steps, rows, 0, chunk.step)) return "column step";
  if (!decode_deltas(message.source_rank_delta(), steps, rows, 0, chunk.source_rank)) {
    return "column source rank";
  }
  if (!decode_deltas(message.request_delta(), !steps, rows, 0, chunk.request)) {
    return "column request";
  }
  if (!decode_deltas(message.position_delta(), !steps, rows, 0, chunk.position)) {
    return "column position";
  }
  if (!decode_deltas(message.token_id_delta(), header.has_token_ids, rows,
                     std::numeric_limits<std::int64_t>::min(), chunk.token_id)) {
    return "column token id";
  }
  if (!decode_numbers(message.tag(), header.has_tags, rows, chunk.tag)) return "column tag";
  if (!decode_numbers(message.round(), header.has_rounds, rows, chunk.round)) {
    return "column round";
  }
  for (const std::uint32_t tag : chunk.tag) {
    if (tag >= tag_count) return "column tag: number " + std::to_string(tag) + " has no name";
  }
  return {};
}

std::string decode_choice_counts(const std::string& counts, TokenChunk& chunk) {
  const std::size_t cells =
      static_cast<std::size_t>(chunk.layers) * static_cast<std::size_t>(chunk.rows);
  chunk.choice_begin.clear();
  if (counts.empty()) return {};
  if (counts.size() != cells) return "column choice counts has the wrong length";
  chunk.choice_begin.reserve(cells + 1);
  std::uint32_t begin = 0;  // at most 32 Mi bytes of counts of at most 255: no overflow
  chunk.choice_begin.push_back(0);
  for (const char c : counts) {
    const int count = static_cast<unsigned char>(c);
    if (count > chunk.top_k) return "a token has more choices than top-k";
    begin += static_cast<std::uint32_t>(count);
    chunk.choice_begin.push_back(begin);
  }
  return {};
}

// Sixteen lanes of fixed number, which the compiler turns into one vector.
unsigned greatest_byte(const unsigned char* bytes, std::size_t n) {
  std::array<unsigned char, 16> most{};
  std::size_t i = 0;
  for (; i + most.size() <= n; i += most.size()) {
    for (std::size_t j = 0; j < most.size(); ++j) most[j] = std::max(most[j], bytes[i + j]);
  }
  for (; i < n; ++i) most[0] = std::max(most[0], bytes[i]);
  return *std::max_element(most.begin(), most.end());
}

std::string check_experts(const TraceHeader& header, const TokenChunk& chunk) {
  for (int layer = 0; layer < chunk.layers; ++layer) {
    const ChoiceColumn column = chunk.column(layer);
    const std::size_t n = chunk.choices_of(layer);
    unsigned most = 0;
    const int experts = header.experts[static_cast<std::size_t>(layer)];
    if (column.width() == 1 && experts == 256) continue;  // every byte is an expert
    if (column.width() == 1) {
      most = greatest_byte(reinterpret_cast<const unsigned char*>(column.bytes()), n);
    } else {
      for (std::size_t i = 0; i < n; ++i) most = std::max<unsigned>(most, column.at(i));
    }
    if (n > 0 && static_cast<int>(most) >= experts) {
      return "expert " + std::to_string(most) + " in layer " + std::to_string(layer) +
             ", which has " + std::to_string(experts) + " experts";
    }
  }
  return {};
}

}  // namespace

std::string encode_tokens(const TraceHeader& header, const TokenChunk& chunk,
                          std::span<const std::uint16_t> choices,
                          std::span<const std::uint8_t> counts) {
  trace::TokenChunk message;
  message.set_rows(static_cast<std::uint32_t>(chunk.rows));
  encode_deltas(chunk.step, message.mutable_step_delta());
  encode_deltas(chunk.source_rank, message.mutable_source_rank_delta());
  encode_deltas(chunk.request, message.mutable_request_delta());
  encode_deltas(chunk.position, message.mutable_position_delta());
  encode_deltas(chunk.token_id, message.mutable_token_id_delta());
  message.mutable_tag()->Add(chunk.tag.begin(), chunk.tag.end());
  message.mutable_round()->Add(chunk.round.begin(), chunk.round.end());

  const std::size_t rows = static_cast<std::size_t>(chunk.rows);
  const std::size_t layers = static_cast<std::size_t>(header.layers());
  const int width = width_of(header);
  std::vector<std::size_t> begin(rows * layers + 1, 0);  // row-major, as `choices` lies
  for (std::size_t cell = 0; cell < rows * layers; ++cell) {
    begin[cell + 1] =
        begin[cell] + (counts.empty() ? static_cast<std::size_t>(header.top_k) : counts[cell]);
  }
  SIM_CHECK(begin.back() == choices.size(), "the counts of a chunk cover its choices");
  std::string& bytes = *message.mutable_choices();
  std::string& count_bytes = *message.mutable_choice_counts();
  std::string& weight_bytes = *message.mutable_gate_weights();
  bytes.reserve(choices.size() * static_cast<std::size_t>(width));
  for (std::size_t layer = 0; layer < layers; ++layer) {
    for (std::size_t row = 0; row < rows; ++row) {
      const std::size_t cell = row * layers + layer;
      if (!counts.empty()) count_bytes.push_back(static_cast<char>(counts[cell]));
      for (std::size_t i = begin[cell]; i < begin[cell + 1]; ++i) {
        bytes.push_back(static_cast<char>(choices[i] & 0xff));
        if (width == 2) bytes.push_back(static_cast<char>(choices[i] >> 8));
      }
      if (header.has_gate_weights) {
        weight_bytes.append(reinterpret_cast<const char*>(chunk.gate_weights.data() + begin[cell]),
                            4 * (begin[cell + 1] - begin[cell]));
      }
    }
  }
  return message.SerializeAsString();
}

std::string decode_tokens(const std::string& bytes, const TraceHeader& header,
                          std::size_t tag_count, TokenChunk& chunk) {
  const google::protobuf::LogSilencer quiet;  // what is wrong is our own message
  trace::TokenChunk message;
  if (!message.ParseFromString(bytes)) return "not a chunk message";
  const std::size_t layers = static_cast<std::size_t>(header.layers());
  if (message.rows() == 0 || message.rows() > kMostRawChunkBytes / layers) {
    return "a chunk of " + std::to_string(message.rows()) + " rows";
  }
  chunk.rows = static_cast<int>(message.rows());
  chunk.layers = header.layers();
  chunk.top_k = header.top_k;
  chunk.width = width_of(header);
  std::string wrong = decode_columns(message, header, tag_count, chunk);
  if (!wrong.empty()) return wrong + " does not fit the header";
  wrong = decode_choice_counts(message.choice_counts(), chunk);
  if (!wrong.empty()) return wrong;
  const std::size_t choices = chunk.first_choice(chunk.layers);
  if (message.choices().size() != choices * static_cast<std::size_t>(chunk.width)) {
    return "column choices has " + std::to_string(message.choices().size()) + " bytes, not " +
           std::to_string(choices * static_cast<std::size_t>(chunk.width));
  }
  if (message.gate_weights().size() != (header.has_gate_weights ? 4 * choices : 0)) {
    return "column gate weights has the wrong length";
  }
  chunk.gate_weights.resize(message.gate_weights().size() / 4);
  if (!chunk.gate_weights.empty()) {
    std::memcpy(chunk.gate_weights.data(), message.gate_weights().data(),
                message.gate_weights().size());
  }
  chunk.choices = std::move(*message.mutable_choices());
  return check_experts(header, chunk);
}

}  // namespace sim
