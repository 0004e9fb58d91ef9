#include "topologies/calibration/error_summary.h"

#include <algorithm>
#include <cmath>

namespace sim {
namespace {

double percentile(const std::vector<double>& sorted, double share) {
  const double at = share * static_cast<double>(sorted.size() - 1);
  const auto low = static_cast<std::size_t>(at);
  const std::size_t high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

}  // namespace

ErrorSummary summarise_errors(std::span<const MeasuredRow> rows, std::span<const double> predicted,
                              const std::vector<bool>& use) {
  ErrorSummary summary;
  std::vector<double> errors;
  double sum = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!use[i]) continue;
    const double error = predicted[i] / rows[i].time_s - 1;
    sum += error;
    errors.push_back(std::abs(error));
    if (errors.back() > summary.worst || summary.worst_row.empty()) {
      summary.worst = errors.back();
      summary.worst_row = rows[i].id;
    }
  }
  if (errors.empty()) return summary;
  std::sort(errors.begin(), errors.end());
  summary.rows = static_cast<std::int64_t>(errors.size());
  for (const double error : errors) summary.mean += error;
  summary.mean /= static_cast<double>(errors.size());
  summary.bias = sum / static_cast<double>(errors.size());
  summary.median = percentile(errors, 0.5);
  summary.p90 = percentile(errors, 0.9);
  summary.p95 = percentile(errors, 0.95);
  return summary;
}

bool decode_like(const MeasuredRow& row) {
  return row.bytes.count() > 0 ? row.bytes.count() < (8 << 20) : row.tokens <= 256;
}

}  // namespace sim
