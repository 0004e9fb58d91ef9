// How far predictions are from measurements: |predicted / measured - 1| over rows.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "topologies/calibration/measured_row.h"

namespace sim {

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

// REQUIRES: as many predictions as rows. `use`: which rows count.
ErrorSummary summarise_errors(std::span<const MeasuredRow> rows, std::span<const double> predicted,
                              const std::vector<bool>& use);

// Whether a row is of a decode step's size (below 8 MiB, or at most 256 tokens a rank): start-up
// decides. The others are of a prefill's or a training step's size: the wire decides.
bool decode_like(const MeasuredRow& row);

}  // namespace sim
