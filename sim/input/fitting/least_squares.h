// The minimiser: relative least squares with a soft loss, by Levenberg-Marquardt (Eigen).
#pragma once

#include <functional>
#include <span>
#include <vector>

namespace sim {

struct FittedValue {
  double start;
  double least;
  double most;
};

// Positive values that make sum over rows of loss(predicted/measured - 1) least, with the soft loss
// 2 c^2 (sqrt(1 + (e/c)^2) - 1), c = 0.1: like squares below 10 %, like magnitudes above, so that a
// spike pulls a little only. The logarithms move, so values stay positive. Deterministic: it
// begins at `start` and at fixed points around it, and keeps the best end.
// `predict` fills one prediction per row; `starts`: how many of the points to begin at, `start`
// itself first.
struct Minimum {
  std::vector<double> values;
  double loss = 0;  // mean over rows
};
Minimum least_relative_squares(
    std::span<const FittedValue> values, std::span<const double> measured,
    const std::function<void(std::span<const double> values, std::span<double> predicted)>& predict,
    int starts = 5);

}  // namespace sim
