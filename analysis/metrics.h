// Pure figures of a list of numbers: what tables and summaries are made of.
#pragma once

#include <span>

namespace sim {

double mean(std::span<const double> values);  // 0 of an empty list

// Linear interpolation between the two nearest ranks, as numpy's default; share in [0, 1].
// REQUIRES: not empty. Any order.
double percentile(std::span<const double> values, double share);

// Max over mean: 1 is balance. An empty list or one of zeros is balanced: 1.
double max_over_mean(std::span<const double> values);

// 0: all equal; (n - 1) / n: one has all. An empty list or one of zeros: 0. REQUIRES: values >= 0.
double gini(std::span<const double> values);

}  // namespace sim
