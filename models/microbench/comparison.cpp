#include "models/microbench/comparison.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "sim/core/error.h"

namespace sim::microbench {

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

}  // namespace

void poison(std::span<float> output) {
  std::fill(output.begin(), output.end(), std::numeric_limits<float>::quiet_NaN());
}

Comparison::Comparison(double tolerance) { result_.tolerance = tolerance; }

void Comparison::note(const std::string& output, double error) {
  if (std::isnan(result_.worst_error) || error <= result_.worst_error) return;  // NaN is the worst
  result_.worst_error = error;
  result_.where = output;
}

void Comparison::written(const std::string& output, std::span<const float> values) {
  for (const float value : values) {
    if (std::isnan(value)) return note(output, kNan);
  }
}

void Comparison::values(const std::string& output, std::span<const float> got,
                        std::span<const double> expected, double least_scale) {
  SIM_CHECK(got.size() == expected.size(), "a result and its reference are equally long");
  double largest = least_scale;
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    largest = std::max(largest, std::fabs(expected[i]));
    const double difference = std::fabs(static_cast<double>(got[i]) - expected[i]);
    if (std::isnan(difference)) return note(output, kNan);
    worst = std::max(worst, difference);
  }
  if (worst > 0) note(output, largest > 0 ? worst / largest : kNan);
}

void Comparison::exact(const std::string& output, bool equal) {
  if (!equal) note(output, kNan);
}

std::vector<std::int64_t> sample(std::int64_t count, std::int64_t most) {
  std::vector<std::int64_t> places;
  const std::int64_t taken = std::min(count, most);
  for (std::int64_t i = 0; i < taken; ++i) {
    places.push_back(taken == 1 ? 0 : i * (count - 1) / (taken - 1));
  }
  return places;
}

double fp32_tolerance(std::int64_t terms) {
  return 16 * 0x1p-24 * std::sqrt(static_cast<double>(std::max<std::int64_t>(terms, 1)));
}

}  // namespace sim::microbench
