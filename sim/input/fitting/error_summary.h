// How far predictions are from measurements: |predicted / measured - 1| over rows.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace sim {

struct PredictionError {
  std::string_view id;  // of the measured row
  double error = 0;     // predicted / measured - 1
};

struct ErrorSummary {
  std::int64_t rows = 0;
  double mean = 0;
  double median = 0;
  double p90 = 0;  // percentiles interpolate between neighbours
  double p95 = 0;
  double worst = 0;
  double bias = 0;  // mean of predicted / measured - 1: positive is too slow
  std::string worst_row;
};

ErrorSummary summarise_errors(std::span<const PredictionError> errors);

}  // namespace sim
