#include "traces/metrics/token_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <tuple>
#include <utility>

#include "sim/core/error.h"
#include "sim/core/random.h"
#include "sim/core/units.h"
#include "sim/input/suggestion.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

// Checked before anything is read: the choices as stored, a place per token, and two layers in use.
void check_size(const std::string& path, const TraceReader& reader, std::int64_t place_bytes,
                std::int64_t budget) {
  const TraceIndex& index = reader.index();
  const TraceHeader& header = reader.header();
  const int most = *std::max_element(header.experts.begin(), header.experts.end());
  const double choices = static_cast<double>(index.choices);
  const double needed = choices * ((most <= 256 ? 1 : 2) + (header.has_gate_weights ? 4 : 0)) +
                        static_cast<double>(index.rows) * static_cast<double>(place_bytes) +
                        2 * 2 * choices / header.layers() +
                        2 * 8.0 * static_cast<double>(index.rows);
  if (needed <= static_cast<double>(budget)) return;
  throw Error(Place{path},
              fmt::format("metrics of {} tokens need {}, more than {}", index.rows,
                          format_bytes(Bytes(static_cast<std::int64_t>(needed))),
                          format_bytes(Bytes(budget))),
              "popularity (the default) reads chunk by chunk; cut the trace for the others");
}

TokenChunk choices_of(TokenChunk chunk) {
  TokenChunk kept;
  kept.first_row = chunk.first_row;
  kept.rows = chunk.rows;
  kept.layers = chunk.layers;
  kept.top_k = chunk.top_k;
  kept.width = chunk.width;
  kept.choice_begin = std::move(chunk.choice_begin);
  kept.choices = std::move(chunk.choices);
  kept.gate_weights = std::move(chunk.gate_weights);
  return kept;
}

}  // namespace

std::uint32_t tag_number(const TraceReader& reader, const std::string& tag) {
  const Place place{reader.path()};
  if (!reader.header().has_tags) throw Error(place, "this trace has no tags");
  const std::vector<std::string>& tags = reader.index().tags;
  const auto found = std::find(tags.begin(), tags.end(), tag);
  if (found == tags.end()) {
    throw Error(place, fmt::format("no token has the tag '{}'", tag), suggest(tag, tags));
  }
  return static_cast<std::uint32_t>(found - tags.begin());
}

std::vector<bool> dealt_units(std::size_t units, const TraceRange& range) {
  const auto parts = static_cast<std::size_t>(range.parts);
  std::vector<std::size_t> turn(units);
  std::iota(turn.begin(), turn.end(), std::size_t{0});
  if (range.deal == TraceRange::Deal::kSeeded) {
    RandomStream(range.seed, "metrics/range").shuffle(turn);
  }
  std::vector<bool> kept;
  for (std::size_t unit = 0; unit < units; ++unit) {
    const bool in_order = range.deal == TraceRange::Deal::kInOrder;
    const std::size_t part = in_order ? unit * parts / units : turn[unit] % parts;
    kept.push_back(part == static_cast<std::size_t>(range.part));
  }
  return kept;
}

TokenTable::TokenTable(const std::string& path, const TraceRange& range, std::int64_t budget)
    : path_(path) {
  SIM_CHECK(range.parts >= 1 && range.part >= 0 && range.part < range.parts, "a part of parts");
  read(range, budget);
  keep_part(range);
  if (places_.empty()) throw Error(Place{path_}, "this part of the trace holds no tokens");
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const TokenPlace& now = places_[i];
    if (i == 0 || now.unit != places_[i - 1].unit || now.rank != places_[i - 1].rank) {
      sequences_.unit.push_back(now.unit);
      sequences_.begin.push_back(sequences_.begin.back());
    }
    ++sequences_.begin.back();
    if (header_.has_tags) tags_.push_back(now.tag);
  }
}

void TokenTable::read(const TraceRange& range, std::int64_t budget) {
  TraceReader reader(path_);
  header_ = reader.header();
  if (header_.kind != TraceKind::kTokens) {
    throw Error(Place{path_}, "a trace of counts knows no tokens",
                "popularity, clustering and drift can be measured from counts");
  }
  check_size(path_, reader, sizeof(TokenPlace) + 8, budget);
  tag_names_ = reader.index().tags;
  const std::uint32_t wanted = range.tag.empty() ? 0 : tag_number(reader, range.tag);
  places_.reserve(static_cast<std::size_t>(reader.index().rows));
  TokenChunk chunk;
  while (reader.next(chunk)) {
    for (std::size_t row = 0; row < static_cast<std::size_t>(chunk.rows); ++row) {
      if (!range.tag.empty() && chunk.tag[row] != wanted) continue;
      TokenPlace place;
      place.unit = header_.has_steps ? chunk.step[row] : chunk.request[row];
      place.rank = header_.has_steps ? chunk.source_rank[row] : 0;
      place.position = header_.has_steps ? 0 : chunk.position[row];
      place.chunk = static_cast<std::uint32_t>(held_.size());
      place.row = static_cast<std::int32_t>(row);
      if (header_.has_tags) place.tag = chunk.tag[row];
      places_.push_back(place);
    }
    held_.push_back(choices_of(std::move(chunk)));
  }
  std::sort(places_.begin(), places_.end(), [](const TokenPlace& a, const TokenPlace& b) {
    return std::tie(a.unit, a.rank, a.position, a.chunk, a.row) <
           std::tie(b.unit, b.rank, b.position, b.chunk, b.row);
  });
}

void TokenTable::keep_part(const TraceRange& range) {
  if (range.parts == 1) return;
  std::vector<std::int64_t> units;
  for (const TokenPlace& place : places_) {
    if (units.empty() || units.back() != place.unit) units.push_back(place.unit);
  }
  const std::vector<bool> kept = dealt_units(units.size(), range);
  std::vector<TokenPlace> left;
  std::size_t unit = 0;
  for (const TokenPlace& place : places_) {
    while (units[unit] != place.unit) ++unit;
    if (kept[unit]) left.push_back(place);
  }
  places_ = std::move(left);
}

LayerTokens TokenTable::layer(int layer) const {
  SIM_CHECK(layer >= 0 && layer < header_.layers(), "a routed layer of this trace");
  LayerTokens out;
  out.experts = header_.experts[static_cast<std::size_t>(layer)];
  out.top_k = header_.top_k;
  out.tokens = tokens();
  const bool vary = std::any_of(held_.begin(), held_.end(),
                                [](const TokenChunk& c) { return !c.choice_begin.empty(); });
  std::vector<ChoiceColumn> columns;
  for (const TokenChunk& chunk : held_) columns.push_back(chunk.column(layer));
  out.choices.reserve(places_.size() * static_cast<std::size_t>(out.top_k));
  if (vary) out.begin.reserve(places_.size() + 1);
  for (const TokenPlace& place : places_) {
    if (vary) out.begin.push_back(static_cast<std::int64_t>(out.choices.size()));
    const ChoiceColumn& column = columns[place.chunk];
    const std::size_t first = column.begin(place.row);
    const std::size_t end = first + static_cast<std::size_t>(column.count(place.row));
    for (std::size_t c = first; c < end; ++c) out.choices.push_back(column.at(c));
  }
  if (vary) out.begin.push_back(static_cast<std::int64_t>(out.choices.size()));
  return out;
}

std::vector<float> TokenTable::layer_weights(int layer) const {
  std::vector<float> weights;
  if (!header_.has_gate_weights) return weights;
  for (const TokenPlace& place : places_) {
    const TokenChunk& chunk = held_[place.chunk];
    const ChoiceColumn column = chunk.column(layer);
    const auto first = chunk.gate_weights.begin() +
                       static_cast<long>(chunk.first_choice(layer) + column.begin(place.row));
    weights.insert(weights.end(), first, first + column.count(place.row));
  }
  return weights;
}

}  // namespace sim
