// Arrays for kernels under emulation: random inputs in the kernel's number format, poisoned
// outputs, and a run in every order of threads that must give the same bytes.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <span>
#include <vector>

#include "models/microbench/cuda/emulation/block.h"
#include "models/microbench/cuda/number_formats.cuh"

namespace sim {

using device_code::Bf16;
using device_code::Fp8;

inline float random_float(std::mt19937& random) {
  return static_cast<float>(random() % 2001) / 1000.0F - 1.0F;
}
inline std::vector<float> random_floats(std::size_t count, std::mt19937& random) {
  std::vector<float> values(count);
  for (float& value : values) value = random_float(random);
  return values;
}
inline std::vector<Bf16> random_bf16(std::size_t count, std::mt19937& random) {
  std::vector<Bf16> values(count);
  for (Bf16& value : values) value = device_code::to_bf16(random_float(random));
  return values;
}
inline std::vector<Fp8> random_fp8(std::size_t count, std::mt19937& random) {
  std::vector<Fp8> values(count);
  for (Fp8& value : values) value = device_code::to_fp8(random_float(random));
  return values;
}

// All bits set: NaN in float, bf16 and fp8, -1 in an integer.
template <typename T>
std::vector<T> poisoned(std::size_t count) {
  std::vector<T> values(count);
  if (count > 0) std::memset(static_cast<void*>(values.data()), 0xff, count * sizeof(T));
  return values;
}

// The output of `run(output)` on poisoned values, after every order of threads gave the same bytes.
template <typename T>
std::vector<T> same_in_every_order(
    std::size_t count, const std::function<void(emulation::Order, std::vector<T>&)>& run) {
  std::vector<T> first;
  for (const emulation::Order order : emulation::kEveryOrder) {
    std::vector<T> output = poisoned<T>(count);
    run(order, output);
    if (first.empty()) {
      first = output;
    } else if (count > 0) {
      EXPECT_EQ(std::memcmp(first.data(), output.data(), count * sizeof(T)), 0)
          << "another order of threads gives another answer: a barrier or a wait is missing";
    }
  }
  return first;
}

inline double as_double(float value) { return value; }
template <typename T>
double as_double(T value) {
  return static_cast<double>(device_code::to_float(value));
}

// |result - expected| against the largest |expected| of the array (at least 1e-30).
template <typename T>
void expect_close(std::span<const T> result, std::span<const double> expected, double tolerance) {
  ASSERT_EQ(result.size(), expected.size());
  double largest = 1e-30;
  for (const double value : expected) largest = std::max(largest, std::fabs(value));
  for (std::size_t i = 0; i < result.size(); ++i) {
    const double error = std::fabs(as_double(result[i]) - expected[i]) / largest;
    ASSERT_TRUE(error <= tolerance)
        << "at " << i << ": " << as_double(result[i]) << " instead of " << expected[i];
  }
}

// A bf16 result of sums in fp32: half a unit of the 8th bit, and a little for the sums.
constexpr double kBf16Tolerance = 1.0 / 256;
constexpr double kFp32Tolerance = 2e-5;

}  // namespace sim
