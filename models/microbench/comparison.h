// How far a kernel's outputs are from what they should be. Outputs are filled with NaN before the
// call, so a value that was not written shows, also where only a sample is compared.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/microbench/backend.h"

namespace sim::microbench {

void poison(std::span<float> output);

class Comparison {
 public:
  explicit Comparison(double tolerance);
  // Every value must be written: NaN fails.
  void written(const std::string& output, std::span<const float> values);
  // The worst |got - expected| over the largest |expected|, at least over `least_scale` (for
  // outputs that may be zero). got may be a sample of the output.
  void values(const std::string& output, std::span<const float> got,
              std::span<const double> expected, double least_scale = 0);
  // Choices, row numbers: any difference fails.
  void exact(const std::string& output, bool equal);
  const CheckResult& result() const { return result_; }

 private:
  void note(const std::string& output, double error);
  CheckResult result_;
};

// Evenly spread places 0..count-1, the first and the last among them; all when count <= most.
std::vector<std::int64_t> sample(std::int64_t count, std::int64_t most);

// What sums of `terms` products in fp32 may miss, relative to the largest result: rounding grows as
// the square root of the terms for random signs; 16 leaves room for the worst of many results.
double fp32_tolerance(std::int64_t terms);

}  // namespace sim::microbench
