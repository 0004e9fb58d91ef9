// Parts of an expert's FFN by the definition, in double precision: one row, or one column of the
// intermediate size, at a cost that does not grow with the whole. What large cases are judged by.
#pragma once

#include <cstdint>
#include <span>

namespace sim::reference {

// One expert's arrays, as in expert_ffn.h.
struct OneExpert {
  std::int64_t hidden = 0;
  std::int64_t inter = 0;
  std::span<const float> gate_up;  // [2 * inter][hidden]
  std::span<const float> down;     // [hidden][inter]
};

// y[hidden] of x[hidden].
void ffn_of_row(const OneExpert& expert, std::span<const double> x, std::span<double> y);

// dx[hidden] of one row from before[2 * inter] and dy[hidden].
void ffn_slope_of_row(const OneExpert& expert, std::span<const float> before,
                      std::span<const float> dy, std::span<double> dx);

// The gradients that belong to column `i` of the intermediate size, over all rows of the expert:
// dgate[hidden] is row i of dgate_up, dup[hidden] row inter + i, ddown[hidden] column i of ddown.
struct ColumnSlopes {
  std::span<double> dgate;
  std::span<double> dup;
  std::span<double> ddown;
};
// x, dy: [rows][hidden]; before: [rows][2 * inter]; after: [rows][inter].
void ffn_slopes_of_column(const OneExpert& expert, std::int64_t rows, std::span<const float> x,
                          std::span<const float> before, std::span<const float> after,
                          std::span<const float> dy, std::int64_t i, const ColumnSlopes& slopes);

}  // namespace sim::reference
