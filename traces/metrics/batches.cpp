#include "traces/metrics/batches.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sim/core/error.h"
#include "sim/core/random.h"
#include "traces/replay_order.h"

namespace sim {

Batches step_batches(const Sequences& sequences) {
  Batches batches;
  batches.tokens.resize(static_cast<std::size_t>(sequences.tokens()));
  std::iota(batches.tokens.begin(), batches.tokens.end(), std::int64_t{0});
  for (std::size_t s = 0; s < sequences.unit.size(); ++s) {
    const bool last = s + 1 == sequences.unit.size() || sequences.unit[s] != sequences.unit[s + 1];
    if (last) batches.begin.push_back(sequences.begin[s + 1]);
  }
  return batches;
}

Batches request_batches(const Sequences& sequences, std::int64_t size, std::uint64_t seed) {
  SIM_CHECK(size >= 1, "a batch holds a token");
  Batches batches;
  if (sequences.count() < size) return batches;
  RowPlaces places;
  for (std::size_t s = 0; s + 1 < sequences.begin.size(); ++s) {
    places.groups.push_back(sequences.begin[s]);
    for (std::int64_t t = sequences.begin[s]; t < sequences.begin[s + 1]; ++t) {
      places.places.push_back({static_cast<std::int64_t>(s), t - sequences.begin[s], t});
    }
  }
  places.groups.push_back(sequences.tokens());
  const auto order = make_request_order(places, {size}, seed);
  const std::int64_t tokens = std::min(sequences.tokens(), kMostBatchedTokens);
  const auto steps = static_cast<int>(std::max<std::int64_t>(1, tokens / size));
  StepRows rows;
  for (int step = 0; step < steps; ++step) {
    order->rows_of(step, rows);
    batches.tokens.insert(batches.tokens.end(), rows.rows.begin(), rows.rows.end());
    batches.begin.push_back(static_cast<std::int64_t>(batches.tokens.size()));
  }
  return batches;
}

Batches shuffled_batches(std::int64_t tokens, std::int64_t size, std::uint64_t seed) {
  SIM_CHECK(size >= 1, "a batch holds a token");
  Batches batches;
  if (tokens < size) return batches;
  batches.tokens.resize(static_cast<std::size_t>(tokens));
  std::iota(batches.tokens.begin(), batches.tokens.end(), std::int64_t{0});
  RandomStream(seed, "metrics/batches").shuffle(batches.tokens);
  const std::int64_t most = std::min(tokens, std::max(size, kMostBatchedTokens));
  for (std::int64_t end = size; end <= most; end += size) batches.begin.push_back(end);
  batches.tokens.resize(static_cast<std::size_t>(batches.begin.back()));
  batches.tokens.shrink_to_fit();
  return batches;
}

BatchFigures batch_figures(std::vector<double> ratios, double distinct) {
  BatchFigures figures;
  if (ratios.empty()) return figures;
  const double n = static_cast<double>(ratios.size());
  figures.distinct_experts = distinct / n;
  figures.max_over_mean = std::accumulate(ratios.begin(), ratios.end(), 0.0) / n;
  const auto rank = static_cast<long>(std::ceil(0.95 * n)) - 1;
  std::nth_element(ratios.begin(), ratios.begin() + rank, ratios.end());
  figures.max_over_mean_p95 = ratios[static_cast<std::size_t>(rank)];
  return figures;
}

BatchFigures batch_figures(const LayerTokens& tokens, const Batches& batches) {
  double distinct = 0;
  std::vector<std::int64_t> counts(static_cast<std::size_t>(tokens.experts), 0);
  std::vector<std::uint16_t> touched;
  std::vector<double> ratios;
  for (std::size_t b = 0; b + 1 < batches.begin.size(); ++b) {
    std::int64_t choices = 0;
    std::int64_t most = 0;
    for (std::int64_t i = batches.begin[b]; i < batches.begin[b + 1]; ++i) {
      for (const std::uint16_t expert : tokens.of(batches.tokens[static_cast<std::size_t>(i)])) {
        if (counts[expert]++ == 0) touched.push_back(expert);
        most = std::max(most, counts[expert]);
        ++choices;
      }
    }
    if (choices > 0) {
      ratios.push_back(static_cast<double>(most) * tokens.experts / static_cast<double>(choices));
      distinct += static_cast<double>(touched.size());
    }
    for (const std::uint16_t expert : touched) counts[expert] = 0;
    touched.clear();
  }
  return batch_figures(std::move(ratios), distinct);
}

}  // namespace sim
