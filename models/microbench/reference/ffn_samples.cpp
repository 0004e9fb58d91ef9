#include "models/microbench/reference/ffn_samples.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "models/microbench/reference/array_size.h"

namespace sim::reference {

namespace {

double sigmoid(double value) { return 1 / (1 + std::exp(-value)); }

// d silu(g) / dg.
double silu_slope(double g) {
  const double s = sigmoid(g);
  return s + g * s * (1 - s);
}

}  // namespace

void ffn_of_row(const OneExpert& e, std::span<const double> x, std::span<double> y) {
  check_sizes({{e.gate_up.size(), 2 * e.inter * e.hidden},
               {e.down.size(), e.hidden * e.inter},
               {x.size(), e.hidden},
               {y.size(), e.hidden}});
  std::vector<double> after(static_cast<std::size_t>(e.inter));
  for (std::int64_t i = 0; i < e.inter; ++i) {
    const float* gate_row = e.gate_up.data() + i * e.hidden;
    const float* up_row = gate_row + e.inter * e.hidden;
    double gate = 0;
    double up = 0;
    for (std::int64_t h = 0; h < e.hidden; ++h) {
      gate += x[static_cast<std::size_t>(h)] * static_cast<double>(gate_row[h]);
      up += x[static_cast<std::size_t>(h)] * static_cast<double>(up_row[h]);
    }
    after[static_cast<std::size_t>(i)] = gate * sigmoid(gate) * up;
  }
  for (std::int64_t h = 0; h < e.hidden; ++h) {
    const float* row = e.down.data() + h * e.inter;
    double sum = 0;
    for (std::int64_t i = 0; i < e.inter; ++i) {
      sum += after[static_cast<std::size_t>(i)] * static_cast<double>(row[i]);
    }
    y[static_cast<std::size_t>(h)] = sum;
  }
}

void ffn_slope_of_row(const OneExpert& e, std::span<const float> before, std::span<const float> dy,
                      std::span<double> dx) {
  check_sizes({{before.size(), 2 * e.inter}, {dy.size(), e.hidden}, {dx.size(), e.hidden}});
  std::fill(dx.begin(), dx.end(), 0.0);
  for (std::int64_t i = 0; i < e.inter; ++i) {
    double dafter = 0;
    for (std::int64_t h = 0; h < e.hidden; ++h) {
      dafter += static_cast<double>(dy[static_cast<std::size_t>(h)]) *
                static_cast<double>(e.down[static_cast<std::size_t>(h * e.inter + i)]);
    }
    const double gate = before[static_cast<std::size_t>(i)];
    const double up = before[static_cast<std::size_t>(e.inter + i)];
    const double dgate = dafter * up * silu_slope(gate);
    const double dup = dafter * gate * sigmoid(gate);
    const float* gate_row = e.gate_up.data() + i * e.hidden;
    const float* up_row = gate_row + e.inter * e.hidden;
    for (std::int64_t h = 0; h < e.hidden; ++h) {
      dx[static_cast<std::size_t>(h)] +=
          dgate * static_cast<double>(gate_row[h]) + dup * static_cast<double>(up_row[h]);
    }
  }
}

void ffn_slopes_of_column(const OneExpert& e, std::int64_t rows, std::span<const float> x,
                          std::span<const float> before, std::span<const float> after,
                          std::span<const float> dy, std::int64_t i, const ColumnSlopes& slopes) {
  check_sizes({{x.size(), rows * e.hidden},
               {before.size(), rows * 2 * e.inter},
               {after.size(), rows * e.inter},
               {dy.size(), rows * e.hidden}});
  for (const std::span<double>& slope : {slopes.dgate, slopes.dup, slopes.ddown}) {
    std::fill(slope.begin(), slope.end(), 0.0);
  }
  for (std::int64_t r = 0; r < rows; ++r) {
    const float* in = x.data() + r * e.hidden;
    const float* slope = dy.data() + r * e.hidden;
    double dafter = 0;
    for (std::int64_t h = 0; h < e.hidden; ++h) {
      dafter += static_cast<double>(slope[h]) *
                static_cast<double>(e.down[static_cast<std::size_t>(h * e.inter + i)]);
    }
    const double gate = before[static_cast<std::size_t>(r * 2 * e.inter + i)];
    const double up = before[static_cast<std::size_t>(r * 2 * e.inter + e.inter + i)];
    const double dgate = dafter * up * silu_slope(gate);
    const double dup = dafter * gate * sigmoid(gate);
    const double result = after[static_cast<std::size_t>(r * e.inter + i)];
    for (std::int64_t h = 0; h < e.hidden; ++h) {
      const auto at = static_cast<std::size_t>(h);
      slopes.dgate[at] += dgate * static_cast<double>(in[h]);
      slopes.dup[at] += dup * static_cast<double>(in[h]);
      slopes.ddown[at] += result * static_cast<double>(slope[h]);
    }
  }
}

}  // namespace sim::reference
