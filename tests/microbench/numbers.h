// Random arrays and comparison with finite differences, for tests of gradients.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "sim/core/random.h"

namespace sim::testing {

inline std::vector<double> random_numbers(std::size_t count, const std::string& name) {
  RandomStream random(1, name);
  std::vector<double> values(count);
  for (double& value : values) value = random.normal();
  return values;
}

inline double dot(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// gradient[i] must be the slope of `loss` when values[i] changes: central differences, whose error
// is about step^2 and about 1e-16 / step of the loss.
inline void expect_gradient(std::vector<double>& values, std::span<const double> gradient,
                            const std::function<double()>& loss, const std::string& what) {
  constexpr double kStep = 1e-5;
  ASSERT_EQ(values.size(), gradient.size()) << what;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const double kept = values[i];
    values[i] = kept + kStep;
    const double above = loss();
    values[i] = kept - kStep;
    const double below = loss();
    values[i] = kept;
    const double slope = (above - below) / (2 * kStep);
    ASSERT_NEAR(gradient[i], slope, 1e-7 * std::max(1.0, std::fabs(slope))) << what << " at " << i;
  }
}

}  // namespace sim::testing
