#include "sim/input/fitting/error_summary.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace sim {
namespace {

double percentile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

}  // namespace

ErrorSummary summarise_errors(std::span<const PredictionError> errors) {
  ErrorSummary summary;
  if (errors.empty()) return summary;
  std::vector<double> sizes;
  double sum = 0;
  for (const PredictionError& each : errors) {
    sum += each.error;
    sizes.push_back(std::abs(each.error));
    if (sizes.back() > summary.worst || summary.worst_row.empty()) {
      summary.worst = sizes.back();
      summary.worst_row = each.id;
    }
  }
  std::sort(sizes.begin(), sizes.end());
  summary.rows = static_cast<std::int64_t>(sizes.size());
  for (const double size : sizes) summary.mean += size;
  summary.mean /= static_cast<double>(sizes.size());
  summary.bias = sum / static_cast<double>(sizes.size());
  summary.median = percentile(sizes, 0.5);
  summary.p90 = percentile(sizes, 0.9);
  summary.p95 = percentile(sizes, 0.95);
  return summary;
}

}  // namespace sim
