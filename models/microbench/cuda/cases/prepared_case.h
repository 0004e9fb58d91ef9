// A kernel case with its buffers on the device, ready to be launched any number of times; and what
// its results are held against.
#pragma once

#include <cmath>
#include <span>
#include <string>

#include "models/microbench/backend.h"
#include "models/microbench/cuda/device_runtime.cuh"
#include "models/microbench/cuda/kernels/fill.h"

namespace sim::device_code {

class PreparedCase {
 public:
  explicit PreparedCase(Device& device) : device_(device) {}
  virtual ~PreparedCase() = default;
  PreparedCase(const PreparedCase&) = delete;
  PreparedCase& operator=(const PreparedCase&) = delete;

  // One call of the case, on the device's stream.
  void launch() {
    for (const std::function<void()>& step : steps_) step();
  }
  // Compares the outputs with a reference in double precision; without a launch before it they are
  // poison, and the check fails.
  virtual microbench::CheckResult check() = 0;

 protected:
  Device& device() { return device_; }

  // Appends a kernel to the call; returns how many blocks it will have.
  template <typename... P>
  int add_kernel(void (*kernel)(P...), int threads, std::size_t shared_bytes,
                 std::int64_t most_blocks, std::type_identity_t<P>... arguments) {
    const int blocks = grid_of(device_, kernel, threads, shared_bytes, most_blocks);
    add_step([this, kernel, blocks, threads, shared_bytes, arguments...] {
      sim::device_code::launch<P...>(device_, kernel, blocks, threads, shared_bytes, arguments...);
    });
    return blocks;
  }
  void add_step(std::function<void()> step) { steps_.push_back(std::move(step)); }

  // An input of random values around `middle`; every array of a case has a seed of its own.
  template <typename T>
  Array<T> random_array(std::int64_t count, float amplitude, float middle = 0.0F) {
    Array<T> array(device_, count);
    const int blocks = grid_of(device_, &fill_random<T>, kFillThreads, 0, 1 + count / 256);
    sim::device_code::launch(device_, &fill_random<T>, blocks, kFillThreads, 0, array.data(), count,
                             ++seed_, middle, amplitude);
    return array;
  }
  template <typename T>
  Array<T> array_of(const std::vector<T>& values) {
    Array<T> array(device_, static_cast<std::int64_t>(values.size()));
    array.upload(values);
    return array;
  }
  template <typename T>
  Array<T> output_array(std::int64_t count) {
    return Array<T>(device_, count);
  }

 private:
  Device& device_;
  std::vector<std::function<void()>> steps_;
  std::uint32_t seed_ = 0;
};

inline double as_double(float value) { return value; }
inline double as_double(Bf16 value) { return static_cast<double>(to_float(value)); }
inline double as_double(Fp8 value) { return static_cast<double>(to_float(value)); }
template <typename T>
std::vector<double> as_doubles(const std::vector<T>& values) {
  std::vector<double> result(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) result[i] = as_double(values[i]);
  return result;
}

// Results are rounded once from a sum in fp32: half a unit of the 8th bit of the value, against the
// largest value, and room for the sum. A chain of kernels rounds at each of them.
constexpr double kBf16Tolerance = 1.0 / 256;
constexpr double kBf16ChainTolerance = 1.0 / 64;
constexpr double kFp32Tolerance = 5e-5;

// Keeps the output that is worst against its tolerance.
class Comparison {
 public:
  void compare(const std::string& where, std::span<const double> result,
               std::span<const double> expected, double tolerance) {
    SIM_CHECK(result.size() == expected.size(), "a result is as long as its reference");
    double largest = 1e-30;
    double worst = 0;
    for (const double value : expected) largest = std::max(largest, std::fabs(value));
    for (std::size_t i = 0; i < result.size(); ++i) {
      const double error = std::fabs(result[i] - expected[i]) / largest;
      if (std::isnan(error)) worst = error;
      if (error > worst) worst = error;
    }
    note(where, worst, tolerance);
  }
  // Every value of an output must have been written, also those that no reference is made for.
  template <typename T>
  void all_written(const std::string& where, const Array<T>& output) {
    for (const T value : output.download())
      if (std::isnan(as_double(value))) return note(where, NAN, kBf16Tolerance);
  }
  void same(const std::string& where, const std::vector<std::int32_t>& result,
            const std::vector<std::int32_t>& expected) {
    note(where, result == expected ? 0.0 : INFINITY, 0.0);
  }
  microbench::CheckResult result() const { return worst_; }

 private:
  void note(const std::string& where, double error, double tolerance) {
    if (std::isnan(worst_.worst_error)) return;
    const auto share = [](double e, double t) { return t > 0 ? e / t : e; };
    if (worst_.where.empty() || std::isnan(error) ||
        share(error, tolerance) > share(worst_.worst_error, worst_.tolerance)) {
      worst_.worst_error = error;
      worst_.tolerance = tolerance;
      worst_.where = where;
    }
  }
  microbench::CheckResult worst_;
};

// Up to `most` of 0..count, spread evenly, the first and the last among them.
inline std::vector<std::int64_t> spread(std::int64_t count, std::int64_t most) {
  std::vector<std::int64_t> picked;
  const std::int64_t taken = std::min(count, most);
  for (std::int64_t i = 0; i < taken; ++i)
    picked.push_back(taken == 1 ? 0 : i * (count - 1) / (taken - 1));
  return picked;
}

// The rows `rows` of an array with rows of `width` values.
template <typename T>
std::vector<double> gather_rows(const Array<T>& array, std::int64_t width,
                                std::span<const std::int64_t> rows) {
  std::vector<double> result;
  result.reserve(rows.size() * static_cast<std::size_t>(width));
  for (const std::int64_t row : rows)
    for (const T value : array.download(row * width, width)) result.push_back(as_double(value));
  return result;
}

}  // namespace sim::device_code
