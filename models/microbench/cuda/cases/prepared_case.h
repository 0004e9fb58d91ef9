// A kernel case with its buffers on the device, ready to be launched any number of times; and what
// its results are held against.
#pragma once

#include <cmath>
#include <span>
#include <string>

#include "models/microbench/backend.h"
#include "models/microbench/cuda/device_runtime.cuh"

namespace sim::device_code {

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
// largest value, and room for the sum.
constexpr double kBf16Tolerance = 1.0 / 256;
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

// Random values as kernels/fill.h makes them. Defined where kernels are compiled: a file that only
// starts steps must hold no kernel, because it is not compiled for every architecture.
void fill_array(Device& device, Array<float>& array, std::uint32_t seed, float middle,
                float amplitude);
void fill_array(Device& device, Array<Bf16>& array, std::uint32_t seed, float middle,
                float amplitude);
void fill_array(Device& device, Array<Fp8>& array, std::uint32_t seed, float middle,
                float amplitude);

// The steps of one call in order, the arrays they work on, and how each step's result is checked.
// The functions of this folder add a step with its outputs and its check; a case is one such
// step or a chain of them. A step is checked on the inputs that it really had, so a chain's check
// is as tight as a single kernel's.
class PreparedCase {
 public:
  PreparedCase(Device& device, bool vendor) : device_(device), vendor_(vendor) {}
  PreparedCase(const PreparedCase&) = delete;
  PreparedCase& operator=(const PreparedCase&) = delete;

  // One call of the case, on the device's stream.
  void launch() {
    for (const std::function<void()>& step : steps_) step();
  }
  // Compares the outputs with references in double precision; without a launch before it they are
  // poison, and the check fails.
  microbench::CheckResult check() {
    Comparison comparison;
    for (const auto& one : checks_) one(comparison);
    return comparison.result();
  }

  Device& device() { return device_; }
  bool vendor() const { return vendor_; }  // matrix products are the vendor's

  void add_step(std::function<void()> step) { steps_.push_back(std::move(step)); }
  // Before all steps so far.
  void add_first_step(std::function<void()> step) {
    steps_.insert(steps_.begin(), std::move(step));
  }
  void add_check(std::function<void(Comparison&)> one) { checks_.push_back(std::move(one)); }
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

  // Keeps something for as long as the case lives.
  template <typename T>
  T& keep(std::unique_ptr<T> thing) {
    T& kept = *thing;
    kept_.emplace_back(thing.release(), [](void* pointer) { delete static_cast<T*>(pointer); });
    return kept;
  }
  // An output or a scratch array, poisoned.
  template <typename T>
  Array<T>& output(std::int64_t count) {
    return keep(std::make_unique<Array<T>>(device_, count));
  }
  // An input of random values around `middle`; every array of a case has a seed of its own.
  template <typename T>
  Array<T>& random(std::int64_t count, float amplitude, float middle = 0.0F) {
    Array<T>& array = output<T>(count);
    fill_array(device_, array, ++seed_, middle, amplitude);
    return array;
  }
  template <typename T>
  Array<T>& uploaded(const std::vector<T>& values) {
    Array<T>& array = output<T>(static_cast<std::int64_t>(values.size()));
    array.upload(values);
    return array;
  }

 private:
  Device& device_;
  bool vendor_;
  std::vector<std::unique_ptr<void, void (*)(void*)>> kept_;
  std::vector<std::function<void()>> steps_;
  std::vector<std::function<void(Comparison&)>> checks_;
  std::uint32_t seed_ = 0;
};

}  // namespace sim::device_code
