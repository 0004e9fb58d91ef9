// The smooth maximum of two times that overlap: neither hides the other whole where they are alike.
//
//   (a^p + b^p)^(1/p)      p = 1: one after the other; p to infinity: the longer one
#pragma once

#include <algorithm>
#include <cmath>

namespace sim {

// REQUIRES: a, b >= 0; p >= 1.
inline double smooth_maximum(double a, double b, double p) {
  const double longer = std::max(a, b);
  const double shorter = std::min(a, b);
  if (shorter <= 0) return longer;
  return longer * std::pow(1 + std::pow(shorter / longer, p), 1 / p);
}

}  // namespace sim
