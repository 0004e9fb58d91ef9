#include "traces/metrics/correlation.h"

#include <fmt/format.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "sim/core/error.h"
#include "sim/core/random.h"

namespace sim {
namespace {

constexpr std::size_t kMostPairs = std::size_t{1} << 28;  // 1 GiB of 4 bytes

std::size_t pair_cells(int experts, int others) {
  const std::size_t cells = static_cast<std::size_t>(experts) * static_cast<std::size_t>(others);
  if (cells > kMostPairs) {
    throw Error(
        fmt::format("a table of {} x {} pairs of experts needs more than 1 GiB", experts, others),
        "leave out the metrics 'layers' and 'pairs'");
  }
  return cells;
}

double entropy(const std::vector<double>& counts, double total) {
  double sum = 0;
  for (const double c : counts) {
    if (c > 0) sum -= c / total * std::log(c / total);
  }
  return sum;
}

// I(X; Y) / H(Y), token t of `tokens` with token order[t] of `next`.
double information(const LayerTokens& tokens, const LayerTokens& next,
                   const std::vector<std::int64_t>& order) {
  const std::size_t others = static_cast<std::size_t>(next.experts);
  std::vector<std::uint32_t> joint(pair_cells(tokens.experts, next.experts), 0);
  for (std::int64_t t = 0; t < tokens.tokens; ++t) {
    for (const std::uint16_t e : tokens.of(t)) {
      for (const std::uint16_t f : next.of(order[static_cast<std::size_t>(t)])) {
        ++joint[e * others + f];
      }
    }
  }
  std::vector<double> rows(static_cast<std::size_t>(tokens.experts), 0);
  std::vector<double> columns(others, 0);
  double total = 0;
  double joint_sum = 0;  // sum of n ln n
  for (std::size_t e = 0; e < rows.size(); ++e) {
    for (std::size_t f = 0; f < others; ++f) {
      const double n = joint[e * others + f];
      if (n == 0) continue;
      rows[e] += n;
      columns[f] += n;
      total += n;
      joint_sum += n * std::log(n);
    }
  }
  if (total == 0) return 0;
  const double of_next = entropy(columns, total);
  if (of_next <= 0) return 0;
  const double joint_entropy = std::log(total) - joint_sum / total;
  return (entropy(rows, total) + of_next - joint_entropy) / of_next;
}

// Poisson: E|n - mean| = 2 exp(-mean) mean^(floor + 1) / floor!.
double mean_absolute_deviation(double mean) {
  if (mean <= 0) return 0;
  const double floor = std::floor(mean);
  return 2 * std::exp(-mean + (floor + 1) * std::log(mean) - std::lgamma(floor + 1));
}

// a(e) with a(e) (sum a - a(e)) = ends(e), by damped fixed-point steps. `ends` sums to 2 x pairs.
std::vector<double> pair_weights(const std::vector<double>& ends) {
  const double total = std::accumulate(ends.begin(), ends.end(), 0.0);
  std::vector<double> a(ends.size());
  for (std::size_t e = 0; e < a.size(); ++e) a[e] = ends[e] / std::sqrt(total);
  for (int step = 0; step < 500; ++step) {
    const double sum = std::accumulate(a.begin(), a.end(), 0.0);
    double change = 0;
    for (std::size_t e = 0; e < a.size(); ++e) {
      if (ends[e] == 0) continue;
      const double now = std::sqrt(a[e] * (ends[e] / std::max(sum - a[e], 1e-300)));
      change = std::max(change, std::abs(now - a[e]) / now);
      a[e] = now;
    }
    if (change < 1e-10) break;
  }
  return a;
}

}  // namespace

LayerCorrelation layer_correlation(const LayerTokens& tokens, const LayerTokens& next,
                                   std::uint64_t seed) {
  SIM_CHECK(tokens.tokens == next.tokens, "two layers of the same tokens");
  std::vector<std::int64_t> order(static_cast<std::size_t>(tokens.tokens));
  std::iota(order.begin(), order.end(), std::int64_t{0});
  LayerCorrelation result;
  result.information = information(tokens, next, order);
  RandomStream(seed, "metrics/layers").shuffle(order);
  result.by_chance = information(tokens, next, order);
  return result;
}

PairCorrelation pair_correlation(const LayerTokens& tokens) {
  const std::size_t experts = static_cast<std::size_t>(tokens.experts);
  std::vector<std::uint32_t> pairs(pair_cells(tokens.experts, tokens.experts), 0);
  std::vector<double> ends(experts, 0);
  double total = 0;
  for (std::int64_t t = 0; t < tokens.tokens; ++t) {
    const auto choices = tokens.of(t);
    for (std::size_t i = 0; i < choices.size(); ++i) {
      for (std::size_t j = 0; j < i; ++j) {
        const std::size_t low = std::min(choices[i], choices[j]);
        const std::size_t high = std::max(choices[i], choices[j]);
        ++pairs[low * experts + high];
        ++ends[low];
        ++ends[high];
        ++total;
      }
    }
  }
  PairCorrelation result;
  if (total == 0) return result;
  const std::vector<double> a = pair_weights(ends);
  for (std::size_t e = 0; e < experts; ++e) {
    for (std::size_t f = e + 1; f < experts; ++f) {
      const double expected = a[e] * a[f];
      result.distance += std::abs(pairs[e * experts + f] - expected);
      result.by_chance += mean_absolute_deviation(expected);
    }
  }
  result.distance /= 2 * total;
  result.by_chance /= 2 * total;
  return result;
}

}  // namespace sim
