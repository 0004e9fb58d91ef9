// The plain functions: values and forces over spans.
#include <algorithm>
#include <cmath>
#include <numeric>

#include "sim/core/error.h"
#include "traces/gating/balance_terms.h"

namespace sim {

void softmax_rows(std::span<const double> logits, int columns, std::span<double> out) {
  SIM_CHECK(columns > 0 && logits.size() == out.size(), "a result per logit");
  const auto width = static_cast<std::size_t>(columns);
  for (std::size_t first = 0; first + width <= logits.size(); first += width) {
    const auto row = logits.subspan(first, width);
    const double greatest = *std::max_element(row.begin(), row.end());
    double sum = 0;
    for (std::size_t e = 0; e < width; ++e) sum += out[first + e] = std::exp(row[e] - greatest);
    for (std::size_t e = 0; e < width; ++e) out[first + e] /= sum;
  }
}

std::vector<double> mean_of_rows(std::span<const double> rows, int columns) {
  const auto width = static_cast<std::size_t>(columns);
  std::vector<double> mean(width, 0.0);
  for (std::size_t i = 0; i < rows.size(); ++i) mean[i % width] += rows[i];
  const double count = static_cast<double>(rows.size() / width);
  if (count > 0) {
    for (double& m : mean) m /= count;
  }
  return mean;
}

std::vector<double> shares_of(std::span<const std::int64_t> counts) {
  const auto sum = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  std::vector<double> shares(counts.size(), 0.0);
  if (sum == 0) return shares;
  for (std::size_t e = 0; e < counts.size(); ++e)
    shares[e] = static_cast<double>(counts[e]) / static_cast<double>(sum);
  return shares;
}

double negative_entropy(std::span<const double> probabilities) {
  double sum = 0;
  for (const double p : probabilities) sum += p > 0 ? p * std::log(p) : 0;
  return sum;
}

double share_product(std::span<const double> f, std::span<const double> p_mean) {
  SIM_CHECK(f.size() == p_mean.size(), "a share and a mean probability per expert");
  return static_cast<double>(f.size()) *
         std::inner_product(f.begin(), f.end(), p_mean.begin(), 0.0);
}

double squared_cv(std::span<const double> values) {
  if (values.empty()) return 0;
  const double n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  if (mean == 0) return 0;
  double variance = 0;
  for (const double v : values) variance += (v - mean) * (v - mean) / n;
  return variance / (mean * mean);
}

double variance_balance(std::span<const std::int64_t> counts, std::int64_t tokens, double top_k) {
  if (tokens == 0) return 0;
  double sum = 0;
  for (const std::int64_t c : counts) {
    const double off = static_cast<double>(c) / static_cast<double>(tokens) -
                       top_k / static_cast<double>(counts.size());
    sum += off * off;
  }
  return sum;
}

void add_softmax_force(std::span<const double> slopes, std::span<const double> probabilities,
                       double scale, std::span<double> out) {
  const double mean = std::inner_product(slopes.begin(), slopes.end(), probabilities.begin(), 0.0);
  for (std::size_t e = 0; e < probabilities.size(); ++e)
    out[e] += scale * probabilities[e] * (slopes[e] - mean);
}

std::vector<double> switch_slopes(std::span<const double> f) {
  std::vector<double> slopes(f.begin(), f.end());
  for (double& s : slopes) s *= static_cast<double>(f.size());
  return slopes;
}

void loss_free_update(std::span<double> bias, std::span<const double> loads, double rate) {
  SIM_CHECK(bias.size() == loads.size(), "a load per bias");
  if (loads.empty()) return;
  const double mean =
      std::accumulate(loads.begin(), loads.end(), 0.0) / static_cast<double>(loads.size());
  for (std::size_t e = 0; e < bias.size(); ++e) {
    if (loads[e] != mean) bias[e] += loads[e] < mean ? rate : -rate;
  }
}

}  // namespace sim
