#include "traces/synthetic/like/sequences.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <map>
#include <tuple>

#include "sim/core/error.h"
#include "sim/core/random.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

constexpr std::uint64_t kMostBytes = std::uint64_t{1} << 31;

// A token as it comes: recorders interleave requests.
struct Row {
  std::uint32_t sequence;
  std::int64_t position;
  std::size_t row;
};

void check_readable(const TraceReader& reader) {
  const TraceHeader& header = reader.header();
  if (header.kind != TraceKind::kTokens) {
    throw Error(Place{reader.path()}, "a trace of counts has no tokens to follow");
  }
  if (header.has_rounds) {
    throw Error(Place{reader.path()}, "tokens that pass a layer in several rounds cannot be fitted",
                "export one round as a trace of its own");
  }
  // Choices are held twice while tokens are sorted. An index that promises too much is refused
  // before anything is held.
  const auto choices =
      static_cast<std::uint64_t>(std::max<std::int64_t>(reader.index().choices, 0));
  const auto rows = static_cast<std::uint64_t>(std::max<std::int64_t>(reader.index().rows, 0));
  const std::uint64_t bytes = bytes_to_read(rows, choices);
  if (bytes > kMostBytes) {
    throw Error(
        Place{reader.path()},
        fmt::format("{} tokens of {} choices need {} MiB of memory to fit, more than {} MiB", rows,
                    choices, bytes >> 20, kMostBytes >> 20),
        "fit a part of the trace");
  }
  const auto per_token =
      static_cast<std::int64_t>(header.experts.size()) * static_cast<std::int64_t>(header.top_k);
  if (reader.index().choices != reader.index().rows * per_token) {
    throw Error(Place{reader.path()},
                "tokens choose different numbers of experts; a fit needs top-k choices in every "
                "layer",
                "");
  }
}

}  // namespace

std::uint64_t bytes_to_read(std::uint64_t rows, std::uint64_t choices) {
  constexpr std::uint64_t kPerChoice = 2 * sizeof(std::uint16_t);
  constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max() / 4;
  // Beyond what can be counted: as much as can be.
  if (rows > kMost / sizeof(Row) || choices > kMost / kPerChoice) return kMost;
  return rows * sizeof(Row) + choices * kPerChoice;
}

std::vector<std::size_t> units_of(const std::vector<TokenSequence>& sequences, bool has_steps) {
  std::map<std::int64_t, std::size_t> numbers;
  std::vector<std::size_t> units;
  units.reserve(sequences.size());
  for (const TokenSequence& sequence : sequences)
    units.push_back(numbers.emplace(has_steps ? sequence.step : sequence.request, numbers.size())
                        .first->second);
  return units;
}

TokenSequences read_sequences(const std::string& path) {
  TraceReader reader(path);
  check_readable(reader);
  TokenSequences all;
  all.header = reader.header();
  all.tags = reader.index().tags;
  const std::size_t layers = all.layers();
  const std::size_t k = all.top_k();

  // Rows as they come, then sorted by (sequence, position).
  std::vector<Row> rows;
  std::vector<std::uint16_t> choices;
  rows.reserve(static_cast<std::size_t>(reader.index().rows));
  choices.resize(static_cast<std::size_t>(reader.index().rows) * layers * k);
  std::map<std::tuple<std::int64_t, std::int32_t, std::uint32_t>, std::uint32_t> numbers;
  TokenChunk chunk;
  while (reader.next(chunk)) {
    const std::size_t first = rows.size();
    for (std::size_t row = 0; row < static_cast<std::size_t>(chunk.rows); ++row) {
      TokenSequence sequence;
      sequence.tag = chunk.tag.empty() ? 0 : chunk.tag[row];
      if (all.header.has_steps) {
        sequence.step = chunk.step[row];
        sequence.source_rank = chunk.source_rank[row];
      } else {
        sequence.request = chunk.request[row];
      }
      const auto key = std::make_tuple(all.header.has_steps ? sequence.step : sequence.request,
                                       sequence.source_rank, sequence.tag);
      const auto [found, is_new] =
          numbers.emplace(key, static_cast<std::uint32_t>(all.sequences.size()));
      if (is_new) all.sequences.push_back(sequence);
      ++all.sequences[found->second].tokens;
      rows.push_back(
          {found->second, chunk.position.empty() ? 0 : chunk.position[row], first + row});
    }
    for (std::size_t layer = 0; layer < layers; ++layer) {
      const ChoiceColumn column = chunk.column(static_cast<int>(layer));
      for (std::size_t row = 0; row < static_cast<std::size_t>(chunk.rows); ++row)
        for (std::size_t j = 0; j < k; ++j)
          choices[((first + row) * layers + layer) * k + j] = column.at(row * k + j);
    }
  }
  std::stable_sort(rows.begin(), rows.end(), [](const Row& a, const Row& b) {
    return std::tie(a.sequence, a.position) < std::tie(b.sequence, b.position);
  });
  std::size_t token = 0;
  for (TokenSequence& sequence : all.sequences) {
    sequence.first_token = token;
    token += static_cast<std::size_t>(sequence.tokens);
  }
  all.choices.resize(choices.size());
  for (std::size_t to = 0; to < rows.size(); ++to) {
    TokenSequence& sequence = all.sequences[rows[to].sequence];
    if (sequence.first_token == to) sequence.first_position = rows[to].position;
    std::copy_n(choices.data() + rows[to].row * layers * k, layers * k,
                all.choices.data() + to * layers * k);
  }
  return all;
}

TokenSequences half_of(const TokenSequences& all, bool second, std::uint64_t seed) {
  // What stays together: a step (its ranks share a moment of the run), or a request.
  const std::vector<std::size_t> unit = units_of(all.sequences, all.header.has_steps);
  const std::size_t units = unit.empty() ? 0 : 1 + *std::max_element(unit.begin(), unit.end());
  RandomStream coin(seed, "synthetic/like/halves");
  std::vector<bool> in_second(units + 1);
  for (std::size_t i = 0; i < units; i += 2) {
    const bool first_goes = coin.below(2) == 1;
    in_second[i] = first_goes;
    in_second[i + 1] = !first_goes;
  }
  TokenSequences half;
  half.header = all.header;
  half.tags = all.tags;
  const std::size_t per_token = all.layers() * all.top_k();
  std::size_t token = 0;
  for (std::size_t i = 0; i < all.sequences.size(); ++i) {
    if (in_second[unit[i]] != second) continue;
    TokenSequence sequence = all.sequences[i];
    const std::uint16_t* from = all.choices.data() + sequence.first_token * per_token;
    const std::size_t tokens = static_cast<std::size_t>(sequence.tokens);
    half.choices.insert(half.choices.end(), from, from + tokens * per_token);
    sequence.first_token = token;
    token += tokens;
    half.sequences.push_back(sequence);
  }
  return half;
}

void write_sequences(const TokenSequences& tokens, const std::string& provenance,
                     const std::string& path) {
  TraceHeader header = tokens.header;
  header.provenance = provenance;
  header.has_gate_weights = header.has_token_ids = header.has_rounds = false;
  TraceWriter writer(path, header);
  std::vector<std::uint32_t> tags;
  for (const std::string& tag : tokens.tags) tags.push_back(header.has_tags ? writer.tag(tag) : 0);
  const std::size_t per_token = tokens.layers() * tokens.top_k();
  TokenRow row;
  for (const TokenSequence& sequence : tokens.sequences) {
    row.step = sequence.step;
    row.source_rank = sequence.source_rank;
    row.request = sequence.request;
    row.tag = header.has_tags ? tags.at(sequence.tag) : 0;
    for (std::int64_t t = 0; t < sequence.tokens; ++t) {
      row.position = sequence.first_position + t;
      row.choices =
          std::span(tokens.choices)
              .subspan((sequence.first_token + static_cast<std::size_t>(t)) * per_token, per_token);
      writer.append(row);
    }
  }
  writer.finish();
}

}  // namespace sim
