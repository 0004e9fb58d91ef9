#include "traces/import/capture_join.h"

#include <fmt/format.h>

#include <algorithm>

#include "sim/core/error.h"

namespace sim {
namespace {

constexpr std::size_t kMostHeldBytes = std::size_t{512} << 20;

bool touches(const CaptureDrops& drops, std::int64_t step, std::int32_t rank) {
  return step >= drops.first_step && step <= drops.last_step && rank >= drops.first_rank &&
         rank <= drops.last_rank;
}

template <class T>
void append(std::vector<T>& to, const std::vector<T>& from) {
  to.insert(to.end(), from.begin(), from.end());
}

template <class Ids>
bool has_twins(const Ids begin, const Ids end) {
  for (Ids a = begin; a != end; ++a) {
    if (std::find(begin, a, *a) != a) return true;
  }
  return false;
}

}  // namespace

CaptureJoin::CaptureJoin(std::vector<int> layer_of, int layers, Columns columns, Sink sink)
    : layer_of_(std::move(layer_of)),
      layers_(static_cast<std::size_t>(layers)),
      columns_(columns),
      sink_(std::move(sink)) {}

template <class T>
void CaptureJoin::take(Group& group, Column<T>& column, int layer, std::size_t first,
                       const std::vector<T>& values) {
  if (values.empty()) return;
  if (column.layer < 0) column.layer = layer;
  if (column.layer == layer) {
    append(column.values, values);
    return;
  }
  const std::size_t known = std::min(column.values.size(), first + values.size());
  for (std::size_t t = first; t < known; ++t) {
    if (column.values[t] != values[t - first]) group.differ = true;
  }
}

void CaptureJoin::add(const CaptureBatch& batch, std::size_t origin) {
  const int layer = layer_of_[static_cast<std::size_t>(batch.layer)];
  if (layer < 0 || batch.tokens == 0) return;
  if (batch.step < over_) {
    ++counters_.late_batches;
    return;
  }
  Group& group = open_[{batch.step, batch.source_rank}];
  if (group.layers.empty()) {
    group.layers.resize(layers_);
    for (const CaptureDrops& drops : drops_) {
      group.dropped = group.dropped || touches(drops, batch.step, batch.source_rank);
    }
  }
  Layer& to = group.layers[static_cast<std::size_t>(layer)];
  if (!to.counts.empty() && to.origin != origin) {
    throw Error(fmt::format("step {} of source rank {} is in two of the logs, with the same layer",
                            batch.step, batch.source_rank),
                "each process records under a source rank of its own");
  }
  to.origin = origin;
  const std::size_t first = to.counts.size();
  if (columns_.token_ids) take(group, group.token_ids, layer, first, batch.token_ids);
  if (columns_.requests) take(group, group.requests, layer, first, batch.requests);
  if (columns_.requests) take(group, group.positions, layer, first, batch.positions);
  if (columns_.tags) take(group, group.tags, layer, first, batch.tags);
  append(to.choices, batch.choices);
  append(to.counts, batch.choice_counts);
  if (columns_.weights) append(to.weights, batch.weights);

  const std::size_t bytes = batch.choices.size() * (columns_.weights ? 6 : 2) +
                            batch.choice_counts.size() + 8 * batch.token_ids.size() +
                            16 * batch.requests.size() + 4 * batch.tags.size();
  group.bytes += bytes;
  held_bytes_ += bytes;
  while (held_bytes_ > kMostHeldBytes) {
    const std::int64_t oldest = open_.begin()->first.first;
    if (oldest == open_.rbegin()->first.first) {
      throw Error(fmt::format("the tokens of step {} need more than 512 MiB", oldest),
                  "import the logs of fewer ranks at a time");
    }
    close_before(oldest + 1);
  }
}

void CaptureJoin::add(const CaptureDrops& drops) {
  drops_.push_back(drops);
  for (auto& [key, group] : open_) {
    group.dropped = group.dropped || touches(drops, key.first, key.second);
  }
}

void CaptureJoin::close_before(std::int64_t step) {
  if (step <= over_) return;
  over_ = step;
  while (!open_.empty() && open_.begin()->first.first < step) {
    const auto oldest = open_.begin();
    emit(oldest->first, oldest->second);
    held_bytes_ -= oldest->second.bytes;
    open_.erase(oldest);
  }
  std::erase_if(drops_, [&](const CaptureDrops& drops) { return drops.last_step < step; });
}

void CaptureJoin::finish() {
  while (!open_.empty()) close_before(open_.begin()->first.first + 1);
}

// Counts why not.
bool CaptureJoin::whole(const Group& group, std::size_t tokens) {
  const auto unequal = [&](const Layer& layer) { return layer.counts.size() != tokens; };
  std::int64_t* why = nullptr;
  if (group.dropped) {
    why = &counters_.dropped;
  } else if (std::any_of(group.layers.begin(), group.layers.end(), unequal)) {
    why = &counters_.unequal_layers;
  } else if ((columns_.token_ids && group.token_ids.values.size() != tokens) ||
             (columns_.requests && group.requests.values.size() != tokens) ||
             (columns_.tags && group.tags.values.size() != tokens)) {
    why = &counters_.no_column;
  } else if (group.differ) {
    why = &counters_.columns_differ;
  }
  if (why != nullptr) *why += static_cast<std::int64_t>(tokens);
  return why == nullptr;
}

void CaptureJoin::emit(const Key& key, const Group& group) {
  std::size_t tokens = 0;
  for (const Layer& layer : group.layers) tokens = std::max(tokens, layer.counts.size());
  if (!whole(group, tokens)) return;
  counters_.tokens += static_cast<std::int64_t>(tokens);
  TokenRow row;
  row.step = key.first;
  row.source_rank = key.second;
  std::vector<std::uint16_t> choices;
  std::vector<std::uint8_t> counts(layers_);
  std::vector<float> weights;
  std::vector<std::size_t> next(layers_, 0);  // choice of each layer
  for (std::size_t t = 0; t < tokens; ++t) {
    choices.clear();
    weights.clear();
    bool twice = false;
    for (std::size_t l = 0; l < layers_; ++l) {
      const Layer& layer = group.layers[l];
      counts[l] = layer.counts[t];
      const auto begin = static_cast<std::ptrdiff_t>(next[l]);
      const std::ptrdiff_t end = begin + counts[l];
      choices.insert(choices.end(), layer.choices.begin() + begin, layer.choices.begin() + end);
      twice = twice || has_twins(layer.choices.begin() + begin, layer.choices.begin() + end);
      if (columns_.weights) {
        weights.insert(weights.end(), layer.weights.begin() + begin, layer.weights.begin() + end);
      }
      next[l] += counts[l];
    }
    counters_.twice += twice;
    if (columns_.token_ids) row.token_id = group.token_ids.values[t];
    if (columns_.requests) row.request = group.requests.values[t];
    if (columns_.requests) row.position = group.positions.values[t];
    if (columns_.tags) row.tag = group.tags.values[t];
    row.choices = choices;
    row.choice_counts = counts;
    row.gate_weights = weights;
    sink_(row);
  }
}

}  // namespace sim
