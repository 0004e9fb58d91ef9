#include "analysis/metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "sim/core/error.h"

namespace sim {

double mean(std::span<const double> values) {
  if (values.empty()) return 0;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double percentile(std::span<const double> values, double share) {
  SIM_CHECK(!values.empty() && share >= 0 && share <= 1, "a percentile of something");
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const double position = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(position);
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - std::floor(position)) * (sorted[above] - sorted[below]);
}

double max_over_mean(std::span<const double> values) {
  const double average = mean(values);
  return average == 0 ? 1 : *std::max_element(values.begin(), values.end()) / average;
}

double gini(std::span<const double> values) {
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  double sum = 0;
  double weighted = 0;
  for (std::size_t i = 0; i < sorted.size(); ++i) {
    sum += sorted[i];
    weighted += static_cast<double>(i + 1) * sorted[i];
  }
  if (sum == 0) return 0;
  const auto n = static_cast<double>(sorted.size());
  return 2 * weighted / (n * sum) - (n + 1) / n;
}

}  // namespace sim
