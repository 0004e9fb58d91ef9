#include "traces/trace_messages.h"

#include <google/protobuf/stubs/logging.h>
#include <trace.pb.h>

#include <algorithm>

#include "traces/trace_file.h"

namespace sim {

std::string encode_header(const TraceHeader& header) {
  trace::Header message;
  message.set_kind(header.kind == TraceKind::kTokens ? trace::Header::KIND_TOKENS
                                                     : trace::Header::KIND_COUNTS);
  message.set_model(header.model);
  message.set_provenance(header.provenance);
  for (const int e : header.experts) message.add_experts(static_cast<std::uint32_t>(e));
  for (const int n : header.layer_numbers) {
    message.add_layer_numbers(static_cast<std::uint32_t>(n));
  }
  message.set_top_k(static_cast<std::uint32_t>(header.top_k));
  message.set_has_steps(header.has_steps);
  message.set_has_gate_weights(header.has_gate_weights);
  message.set_has_token_ids(header.has_token_ids);
  message.set_has_tags(header.has_tags);
  message.set_has_rounds(header.has_rounds);
  message.set_counts_are_fractions(header.counts_are_fractions);
  return message.SerializeAsString();
}

std::string decode_header(const std::string& bytes, TraceHeader& header) {
  const google::protobuf::LogSilencer quiet;  // what is wrong is our own message
  trace::Header message;
  if (!message.ParseFromString(bytes)) return "not a header message";
  if (message.kind() == trace::Header::KIND_TOKENS) {
    header.kind = TraceKind::kTokens;
  } else if (message.kind() == trace::Header::KIND_COUNTS) {
    header.kind = TraceKind::kCounts;
  } else {
    return "unknown kind of trace " + std::to_string(static_cast<int>(message.kind()));
  }
  header.model = message.model();
  header.provenance = message.provenance();
  header.experts.clear();
  for (const std::uint32_t e : message.experts()) {
    header.experts.push_back(e > kMostExperts ? kMostExperts + 1 : static_cast<int>(e));
  }
  header.layer_numbers.clear();
  for (const std::uint32_t n : message.layer_numbers()) {
    if (n > static_cast<std::uint32_t>(kMostLayerNumber))
      return "layer number " + std::to_string(n);
    header.layer_numbers.push_back(static_cast<int>(n));
  }
  header.top_k = static_cast<int>(std::min<std::uint32_t>(message.top_k(), kMostChoices + 1));
  header.has_steps = message.has_steps();
  header.has_gate_weights = message.has_gate_weights();
  header.has_token_ids = message.has_token_ids();
  header.has_tags = message.has_tags();
  header.has_rounds = message.has_rounds();
  header.counts_are_fractions = message.counts_are_fractions();
  return {};
}

std::string encode_counts(const std::vector<CountRow>& rows) {
  trace::CountChunk message;
  for (const CountRow& row : rows) {
    auto* histogram = message.add_histograms();
    histogram->set_step(row.step);
    histogram->set_tag(row.tag);
    histogram->set_layer(static_cast<std::uint32_t>(row.layer));
    histogram->set_tokens(static_cast<std::uint64_t>(row.tokens));
    for (const std::int64_t c : row.counts) histogram->add_counts(static_cast<std::uint64_t>(c));
  }
  return message.SerializeAsString();
}

std::string decode_counts(const std::string& bytes, const TraceHeader& header,
                          std::size_t tag_count, std::vector<CountRow>& rows) {
  constexpr std::uint64_t kMostCount = std::uint64_t{1} << 53;  // exact as a double
  const google::protobuf::LogSilencer quiet;                    // what is wrong is our own message
  trace::CountChunk message;
  if (!message.ParseFromString(bytes)) return "not a chunk message";
  rows.clear();
  for (const auto& histogram : message.histograms()) {
    if (histogram.layer() >= static_cast<std::uint32_t>(header.layers())) {
      return "layer " + std::to_string(histogram.layer()) + " of " +
             std::to_string(header.layers());
    }
    const int layer = static_cast<int>(histogram.layer());
    if (histogram.counts_size() != header.experts[static_cast<std::size_t>(layer)]) {
      return "a histogram of layer " + std::to_string(layer) + " has " +
             std::to_string(histogram.counts_size()) + " experts";
    }
    if (histogram.step() < 0) return "a step below 0";
    if (header.has_tags ? histogram.tag() >= tag_count : histogram.tag() != 0) {
      return "a tag without a name";
    }
    if (histogram.tokens() > kMostCount) return "a count of tokens above 2^53";
    CountRow row{histogram.step(),
                 histogram.tag(),
                 layer,
                 static_cast<std::int64_t>(histogram.tokens()),
                 {}};
    std::uint64_t sum = 0;
    for (const std::uint64_t count : histogram.counts()) {
      if (count > kMostCount || (sum += count) > kMostCount) return "counts above 2^53";
      row.counts.push_back(static_cast<std::int64_t>(count));
    }
    rows.push_back(std::move(row));
  }
  return {};
}

std::string encode_footer(const TraceIndex& index) {
  trace::Footer message;
  for (const ChunkPlace& place : index.chunks) {
    auto* chunk = message.add_chunks();
    chunk->set_offset_bytes(place.offset);
    chunk->set_first_row(static_cast<std::uint64_t>(place.first_row));
    chunk->set_rows(static_cast<std::uint32_t>(place.rows));
    chunk->set_first_step(place.first_step);
    chunk->set_last_step(place.last_step);
  }
  for (const std::string& tag : index.tags) message.add_tags(tag);
  message.set_rows(static_cast<std::uint64_t>(index.rows));
  message.set_choices(static_cast<std::uint64_t>(index.choices));
  return message.SerializeAsString();
}

std::string decode_footer(const std::string& bytes, TraceIndex& index) {
  const google::protobuf::LogSilencer quiet;  // what is wrong is our own message
  trace::Footer message;
  if (!message.ParseFromString(bytes)) return "not an index message";
  index = TraceIndex{};
  std::uint64_t rows = 0;
  for (const auto& chunk : message.chunks()) {
    if (chunk.first_row() != rows || chunk.rows() == 0 || chunk.rows() > kMostRawChunkBytes) {
      return "chunks of the index do not follow one another";
    }
    index.chunks.push_back({chunk.offset_bytes(), static_cast<std::int64_t>(rows),
                            static_cast<int>(chunk.rows()), chunk.first_step(), chunk.last_step()});
    rows += chunk.rows();
  }
  constexpr std::uint64_t kMost = std::uint64_t{1} << 62;
  if (rows != message.rows() || message.choices() > kMost) return "totals of the index";
  index.rows = static_cast<std::int64_t>(rows);
  index.choices = static_cast<std::int64_t>(message.choices());
  index.tags.assign(message.tags().begin(), message.tags().end());
  return {};
}

}  // namespace sim
