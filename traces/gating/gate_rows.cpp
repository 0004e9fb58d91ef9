#include "traces/gating/gate_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

#include "sim/core/error.h"

namespace sim {

std::span<const std::uint32_t> BestOf::of(std::span<const double> row, int k) {
  order_.resize(row.size());
  std::iota(order_.begin(), order_.end(), 0U);
  std::partial_sort(
      order_.begin(), order_.begin() + k, order_.end(),
      [&](std::uint32_t a, std::uint32_t b) { return row[a] != row[b] ? row[a] > row[b] : a < b; });
  return {order_.data(), static_cast<std::size_t>(k)};
}

double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

void softmax_of(std::span<const double> row, std::span<const std::uint32_t> entries,
                std::vector<double>& out) {
  out.clear();
  if (entries.empty()) return;
  double greatest = row[entries.front()];
  for (const std::uint32_t e : entries) greatest = std::max(greatest, row[e]);
  double sum = 0;
  for (const std::uint32_t e : entries) {
    out.push_back(std::exp(row[e] - greatest));
    sum += out.back();
  }
  for (double& w : out) w /= sum;
}

std::vector<double> softmax_of(std::span<const double> row) {
  std::vector<std::uint32_t> all(row.size());
  std::iota(all.begin(), all.end(), 0U);
  std::vector<double> out;
  softmax_of(row, all, out);
  return out;
}

std::span<const double> score_row(const GateInput& input, std::size_t matrix, std::int64_t token,
                                  int width) {
  const auto columns = static_cast<std::size_t>(width);
  return input.scores[matrix].subspan(static_cast<std::size_t>(token) * columns, columns);
}

RandomStream gate_stream(const GateInput& input, std::string_view gate) {
  return {input.seed, fmt::format("gating/{}/step {}/layer {}", gate, input.step, input.layer)};
}

double gumbel(RandomStream& random) { return -std::log(random.exponential()); }

int read_k(YamlMap& keys, const GateShape& shape) {
  return static_cast<int>(
      keys.count_or("k", std::min(shape.top_k, shape.experts), {1, shape.experts}));
}

Gate plain_gate(const GateShape& shape, int k) {
  Gate gate;
  gate.score_widths = {shape.experts};
  gate.most_choices = k;
  gate.score_columns = shape.experts;
  gate.has_logits = true;
  return gate;
}

bool read_per_source_rank(YamlMap& keys) {
  static const std::array<std::string, 2> kWords = {"together", "source-rank"};
  return keys.choice_or("per", "together", kWords) == "source-rank";
}

std::vector<TokenRange> token_ranges(const GateInput& input, bool per_source_rank) {
  std::vector<TokenRange> ranges;
  if (!per_source_rank || input.source_ranks.empty()) {
    if (input.tokens > 0) ranges.push_back({0, input.tokens, 0});
    return ranges;
  }
  for (std::int64_t t = 0; t < input.tokens; ++t) {
    const std::int32_t rank = input.source_ranks[static_cast<std::size_t>(t)];
    if (ranges.empty() || ranges.back().rank != rank) ranges.push_back({t, t, rank});
    ranges.back().last = t + 1;
  }
  return ranges;
}

std::vector<std::int64_t> equal_parts(std::int64_t n, int parts) {
  std::vector<std::int64_t> sizes(static_cast<std::size_t>(parts), n / parts);
  for (std::int64_t i = 0; i < n % parts; ++i) ++sizes[static_cast<std::size_t>(i)];
  return sizes;
}

}  // namespace sim
