#include "traces/replay_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>
#include <utility>

#include "sim/core/error.h"
#include "sim/core/units.h"
#include "sim/input/suggestion.h"

namespace sim {
namespace {

TokenChunk choices_only(TokenChunk chunk, bool gate_weights) {
  TokenChunk kept;
  kept.first_row = chunk.first_row;
  kept.rows = chunk.rows;
  kept.layers = chunk.layers;
  kept.top_k = chunk.top_k;
  kept.width = chunk.width;
  kept.choice_begin = std::move(chunk.choice_begin);
  kept.choices = std::move(chunk.choices);
  if (gate_weights) kept.gate_weights = std::move(chunk.gate_weights);
  return kept;
}

std::int64_t bytes_of(const TokenChunk& chunk) { return static_cast<std::int64_t>(chunk.bytes()); }

}  // namespace

RowStore::RowStore(std::string path, const std::string& tag,
                   std::shared_ptr<std::vector<float>> gate_weights, std::int64_t budget)
    : path_(std::move(path)),
      reader_(path_),
      gate_weights_(std::move(gate_weights)),
      budget_(budget) {
  if (gate_weights_ && !header().has_gate_weights) {
    throw Error(Place{path_}, "this trace has no gate weights, and overflow by score needs them",
                "use priority: order");
  }
  const TraceIndex& index = reader_.index();
  if (!tag.empty()) {
    if (!header().has_tags) throw Error(Place{path_}, "this trace has no tags");
    if (std::find(index.tags.begin(), index.tags.end(), tag) == index.tags.end()) {
      throw Error(Place{path_}, fmt::format("no token has the tag '{}'", tag),
                  suggest(tag, index.tags));
    }
  }
  const std::int64_t per_row = static_cast<std::int64_t>(sizeof(RowPlaces::Place));
  if (index.rows > budget_ / per_row) {
    throw Error(Place{path_},
                fmt::format("an index of its {} tokens needs more than {}", index.rows,
                            format_bytes(Bytes(budget_))),
                "replay a part of the trace");
  }
  index_rows(tag);
}

void RowStore::index_rows(const std::string& tag) {
  const auto& tags = reader_.index().tags;
  const auto tag_number =
      static_cast<std::uint32_t>(std::find(tags.begin(), tags.end(), tag) - tags.begin());
  places_.steps = header().has_steps;
  TokenChunk chunk;
  std::int64_t held = 0;
  while (reader_.next(chunk)) {
    add_places(chunk, tag, tag_number);
    if (!resident_) continue;
    held_.push_back(choices_only(std::move(chunk), gate_weights_ != nullptr));
    held += bytes_of(held_.back());
    if (held > budget_) {
      resident_ = false;
      held_.clear();
      held_.shrink_to_fit();
    }
  }
  if (places_.places.empty()) throw Error(Place{path_}, "this trace holds no tokens");
  std::sort(places_.places.begin(), places_.places.end(),
            [](const RowPlaces::Place& a, const RowPlaces::Place& b) {
              if (a.first != b.first) return a.first < b.first;
              return a.second != b.second ? a.second < b.second : a.row < b.row;
            });
  for (std::size_t i = 0; i < places_.places.size(); ++i) {
    if (i == 0 || places_.places[i].first != places_.places[i - 1].first) {
      places_.groups.push_back(static_cast<std::int64_t>(i));
    }
  }
  places_.groups.push_back(static_cast<std::int64_t>(places_.places.size()));
}

void RowStore::add_places(const TokenChunk& chunk, const std::string& tag,
                          std::uint32_t tag_number) {
  for (std::size_t row = 0; row < static_cast<std::size_t>(chunk.rows); ++row) {
    if (!tag.empty() && chunk.tag[row] != tag_number) continue;
    RowPlaces::Place place;
    place.first = places_.steps ? chunk.step[row] : chunk.request[row];
    place.second = places_.steps ? chunk.source_rank[row] : chunk.position[row];
    place.row = chunk.first_row + static_cast<std::int64_t>(row);
    places_.places.push_back(place);
  }
}

std::size_t RowStore::chunk_of(std::int64_t row) const {
  const auto& chunks = reader_.index().chunks;
  const auto after = std::upper_bound(
      chunks.begin(), chunks.end(), row,
      [](std::int64_t wanted, const ChunkPlace& c) { return wanted < c.first_row; });
  return static_cast<std::size_t>(after - chunks.begin()) - 1;
}

void RowStore::prepare(const StepRows& step) {
  step_ = step;
  step_chunks_.clear();
  for (const std::int64_t row : step_.rows) {
    step_chunks_.push_back(static_cast<std::uint32_t>(chunk_of(row)));
  }
  if (!resident_) page_in();
}

// Reads each chunk that the step needs once and copies its rows out, every layer.
void RowStore::page_in() {
  const std::size_t rows = step_.rows.size();
  const std::size_t layers = static_cast<std::size_t>(header().layers());
  const std::size_t k = static_cast<std::size_t>(header().top_k);
  const std::size_t per_row = layers * ((gate_weights_ ? 6 : 2) * k + 1);
  if (rows > static_cast<std::size_t>(budget_) / per_row) {
    throw Error(Place{path_},
                fmt::format("a step of {} tokens needs more than {} of choices", rows,
                            format_bytes(Bytes(budget_))),
                "use fewer tokens per step");
  }
  paged_.assign(rows * layers * k, 0);
  paged_counts_.assign(rows * layers, 0);
  if (gate_weights_) paged_weights_.assign(rows * layers * k, 0);
  std::vector<std::size_t> order(rows);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return step_chunks_[a] != step_chunks_[b] ? step_chunks_[a] < step_chunks_[b] : a < b;
  });
  TokenChunk chunk;
  for (std::size_t i = 0; i < rows; ++i) {
    const std::size_t at = order[i];
    if (i == 0 || step_chunks_[at] != step_chunks_[order[i - 1]]) {
      chunk = reader_.read_chunk(step_chunks_[at]);
    }
    const int row = static_cast<int>(step_.rows[at] - chunk.first_row);
    for (std::size_t layer = 0; layer < layers; ++layer) {
      const ChoiceColumn column = chunk.column(static_cast<int>(layer));
      const std::size_t cell = layer * rows + at;
      const int count = column.count(row);
      const std::size_t begin = column.begin(row);
      for (int j = 0; j < count; ++j) {
        paged_[cell * k + static_cast<std::size_t>(j)] =
            column.at(begin + static_cast<std::size_t>(j));
      }
      if (gate_weights_) {
        const auto from = chunk.gate_weights.begin() +
                          static_cast<long>(chunk.first_choice(static_cast<int>(layer)) + begin);
        std::copy_n(from, count, paged_weights_.begin() + static_cast<long>(cell * k));
      }
      paged_counts_[cell] = static_cast<std::uint8_t>(count);
    }
  }
}

namespace {

// Widens the choices of one row, or of rows that follow one another, and counts them.
template <class Stored>
void take_rows(const char* from, std::size_t n, std::uint16_t* to, std::int64_t* counts) {
  for (std::size_t j = 0; j < n; ++j) {
    Stored stored;
    std::memcpy(&stored, from + j * sizeof(Stored), sizeof(Stored));
    const auto expert = static_cast<std::uint16_t>(stored);
    to[j] = expert;
    ++counts[expert];
  }
}

}  // namespace

void RowStore::gather(int layer, LayerRouting& out) const {
  const std::size_t rows = step_.rows.size();
  const std::size_t k = static_cast<std::size_t>(header().top_k);
  out.experts = header().experts[static_cast<std::size_t>(layer)];
  out.ranks = static_cast<int>(step_.rank_begin.size()) - 1;
  out.per_token = true;
  out.rank_begin = step_.rank_begin;
  out.counts.assign(static_cast<std::size_t>(out.ranks) * static_cast<std::size_t>(out.experts), 0);
  out.choice_begin.resize(rows + 1);
  out.choices.resize(rows * k);  // at most
  std::vector<ChoiceColumn> columns;
  for (const TokenChunk& chunk : held_) columns.push_back(chunk.column(layer));
  std::size_t taken = 0;
  for (int rank = 0; rank < out.ranks; ++rank) {
    std::int64_t* counts =
        out.counts.data() + static_cast<std::size_t>(rank) * static_cast<std::size_t>(out.experts);
    const auto end = static_cast<std::size_t>(step_.rank_begin[static_cast<std::size_t>(rank) + 1]);
    for (auto i = static_cast<std::size_t>(step_.rank_begin[static_cast<std::size_t>(rank)]);
         i < end; ++i) {
      out.choice_begin[i] = static_cast<std::int64_t>(taken);
      std::uint16_t* to = out.choices.data() + taken;
      std::size_t count = 0;
      if (resident_) {
        const ChoiceColumn& column = columns[step_chunks_[i]];
        const int row = static_cast<int>(step_.rows[i] - held_[step_chunks_[i]].first_row);
        count = static_cast<std::size_t>(column.count(row));
        const char* from =
            column.bytes() + column.begin(row) * static_cast<std::size_t>(column.width());
        if (column.all_equal()) {  // recorded steps: the rows of a rank follow one another
          const std::size_t each = count;
          while (i + 1 < end && step_.rows[i + 1] == step_.rows[i] + 1 &&
                 step_chunks_[i + 1] == step_chunks_[i]) {
            out.choice_begin[++i] = static_cast<std::int64_t>(taken + count);
            count += each;
          }
        }
        if (column.width() == 1) {
          take_rows<std::uint8_t>(from, count, to, counts);
        } else {
          take_rows<std::uint16_t>(from, count, to, counts);
        }
      } else {
        const std::size_t cell = static_cast<std::size_t>(layer) * rows + i;
        count = paged_counts_[cell];
        take_rows<std::uint16_t>(reinterpret_cast<const char*>(paged_.data() + cell * k), count, to,
                                 counts);
      }
      taken += count;
    }
  }
  out.choice_begin[rows] = static_cast<std::int64_t>(taken);
  out.choices.resize(taken);
  if (gate_weights_) gather_weights(layer);
}

void RowStore::gather_weights(int layer) const {
  const std::size_t rows = step_.rows.size();
  const std::size_t k = static_cast<std::size_t>(header().top_k);
  gate_weights_->clear();
  for (std::size_t i = 0; i < rows; ++i) {
    if (resident_) {
      const TokenChunk& chunk = held_[step_chunks_[i]];
      const ChoiceColumn column = chunk.column(layer);
      const int row = static_cast<int>(step_.rows[i] - chunk.first_row);
      const auto first = chunk.gate_weights.begin() +
                         static_cast<long>(chunk.first_choice(layer) + column.begin(row));
      gate_weights_->insert(gate_weights_->end(), first, first + column.count(row));
    } else {
      const std::size_t cell = static_cast<std::size_t>(layer) * rows + i;
      const auto first = paged_weights_.begin() + static_cast<long>(cell * k);
      gate_weights_->insert(gate_weights_->end(), first, first + paged_counts_[cell]);
    }
  }
}

}  // namespace sim
