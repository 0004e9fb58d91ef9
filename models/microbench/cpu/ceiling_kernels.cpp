// What the memory of this CPU can do: read, write, copy, triad (a = b + s c) over `bytes` in all.
#include <cstring>
#include <vector>

#include "models/microbench/comparison.h"
#include "models/microbench/cpu/cpu_kernel.h"

namespace sim::microbench {

namespace {

constexpr float kFactor = 3.0f;

// A sum of the bit patterns: integers may be added in any order, so the compiler may use its widest
// registers and memory is the limit, not the adder.
std::uint32_t sum_of_bits(const float* values, std::size_t count) {
  std::uint32_t sums[64] = {};
  std::size_t i = 0;
  for (; i + 64 <= count; i += 64) {
    std::uint32_t bits[64];
    std::memcpy(bits, values + i, sizeof bits);
    for (std::size_t j = 0; j < 64; ++j) sums[j] += bits[j];
  }
  std::uint32_t total = 0;
  for (const std::uint32_t sum : sums) total += sum;
  for (; i < count; ++i) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, values + i, sizeof bits);
    total += bits;
  }
  return total;
}

class MemoryCeiling : public CpuKernel {
 public:
  MemoryCeiling(const KernelCase& c, RotatingArrays& arrays)
      : what_(c.option("what")), arrays_(arrays) {
    const std::int64_t streams = what_ == "triad" ? 3 : what_ == "copy" ? 2 : 1;
    const std::int64_t floats = std::max<std::int64_t>(
        c.size("bytes") / static_cast<std::int64_t>(sizeof(float)) / streams, 1);
    if (what_ != "write") first_ = arrays.add(Store::kInput, floats);
    if (what_ == "triad") second_ = arrays.add(Store::kInput, floats);
    if (what_ != "read") out_ = arrays.add(Store::kOutput, floats);
  }

  void run(std::int64_t copy) override {
    if (what_ == "read") {
      const std::span<float> in = arrays_.at(first_, copy);
      sum_ = sum_of_bits(in.data(), in.size());
      return;
    }
    const std::span<float> out = arrays_.at(out_, copy);
    if (what_ == "write") return std::fill(out.begin(), out.end(), kFactor);
    const std::span<float> in = arrays_.at(first_, copy);
    if (what_ == "copy") {
      std::memcpy(out.data(), in.data(), in.size_bytes());
      return;
    }
    const std::span<float> third = arrays_.at(second_, copy);
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = in[i] + kFactor * third[i];
  }

  CheckResult check() override {
    Comparison comparison(1e-6);
    if (what_ == "read") {
      run(0);
      std::uint32_t expected = 0;
      for (const float value : arrays_.at(first_, 0)) {
        std::uint32_t bits = 0;
        std::memcpy(&bits, &value, sizeof bits);
        expected += bits;
      }
      comparison.exact("sum", sum_ == expected);
      return comparison.result();
    }
    const std::span<float> out = arrays_.at(out_, 0);
    poison(out);
    run(0);
    std::vector<double> expected(out.size(), kFactor);
    if (what_ != "write") {
      const std::span<float> in = arrays_.at(first_, 0);
      for (std::size_t i = 0; i < out.size(); ++i) expected[i] = in[i];
    }
    if (what_ == "triad") {
      const std::span<float> third = arrays_.at(second_, 0);
      for (std::size_t i = 0; i < out.size(); ++i) {
        expected[i] += static_cast<double>(kFactor) * static_cast<double>(third[i]);
      }
    }
    comparison.values("output", out, expected);
    return comparison.result();
  }

 private:
  std::string what_;
  RotatingArrays& arrays_;
  RotatingArray first_, second_, out_;
  volatile std::uint32_t sum_ = 0;  // so that the reads are not left out
};

}  // namespace

std::unique_ptr<CpuKernel> make_memory_ceiling(const KernelCase& c, RotatingArrays& arrays) {
  return std::make_unique<MemoryCeiling>(c, arrays);
}

}  // namespace sim::microbench
