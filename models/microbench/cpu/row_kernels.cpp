// activation, norm and quantise on the CPU.
#include <algorithm>
#include <cmath>
#include <vector>

#include "models/microbench/comparison.h"
#include "models/microbench/cpu/cpu_kernel.h"
#include "models/microbench/reference/number_formats.h"
#include "models/microbench/reference/row_kernels.h"

namespace sim::microbench {

namespace {

namespace ref = sim::reference;

std::vector<double> doubled(std::span<const float> values) {
  return {values.begin(), values.end()};
}

class Activation : public CpuKernel {
 public:
  Activation(const KernelCase& c, RotatingArrays& arrays)
      : rows_(c.size("rows")),
        inter_(c.size("inter")),
        backward_(c.pass == "backward"),
        arrays_(arrays) {
    in_ = arrays.add(Store::kInput, rows_ * 2 * inter_);
    if (backward_) slope_ = arrays.add(Store::kInput, rows_ * inter_);
    out_ = arrays.add(Store::kOutput, rows_ * inter_ * (backward_ ? 2 : 1));
  }

  void run(std::int64_t copy) override {
    if (backward_) {
      ref::swiglu_backward<float>(rows_, inter_, arrays_.at(in_, copy), arrays_.at(slope_, copy),
                                  arrays_.at(out_, copy));
    } else {
      ref::swiglu<float>(rows_, inter_, arrays_.at(in_, copy), arrays_.at(out_, copy));
    }
  }

  CheckResult check() override {
    poison(arrays_.at(out_, 0));
    run(0);
    const std::vector<double> in = doubled(arrays_.at(in_, 0));
    std::vector<double> expected(static_cast<std::size_t>(out_.size));
    if (backward_) {
      const std::vector<double> slope = doubled(arrays_.at(slope_, 0));
      ref::swiglu_backward<double>(rows_, inter_, in, slope, expected);
    } else {
      ref::swiglu<double>(rows_, inter_, in, expected);
    }
    Comparison comparison(fp32_tolerance(1));
    comparison.values("output", arrays_.at(out_, 0), expected);
    return comparison.result();
  }

 private:
  std::int64_t rows_;
  std::int64_t inter_;
  bool backward_;
  RotatingArrays& arrays_;
  RotatingArray in_, slope_, out_;
};

class Norm : public CpuKernel {
 public:
  Norm(const KernelCase& c, RotatingArrays& arrays)
      : rows_(c.size("rows")),
        hidden_(c.size("hidden")),
        backward_(c.pass == "backward"),
        arrays_(arrays) {
    x_ = arrays.add(Store::kInput, rows_ * hidden_);
    weight_ = arrays.add(Store::kInput, hidden_);
    if (backward_) {
      slope_ = arrays.add(Store::kInput, rows_ * hidden_);
      dweight_ = arrays.add(Store::kOutput, hidden_);
    }
    out_ = arrays.add(Store::kOutput, rows_ * hidden_);
  }

  void run(std::int64_t copy) override {
    if (backward_) {
      ref::rms_norm_backward<float>(rows_, hidden_, arrays_.at(x_, copy), arrays_.at(weight_, copy),
                                    arrays_.at(slope_, copy), arrays_.at(out_, copy),
                                    arrays_.at(dweight_, copy));
    } else {
      ref::rms_norm<float>(rows_, hidden_, arrays_.at(x_, copy), arrays_.at(weight_, copy),
                           arrays_.at(out_, copy));
    }
  }

  CheckResult check() override {
    poison(arrays_.at(out_, 0));
    if (backward_) poison(arrays_.at(dweight_, 0));
    run(0);
    const std::vector<double> x = doubled(arrays_.at(x_, 0));
    const std::vector<double> weight = doubled(arrays_.at(weight_, 0));
    std::vector<double> expected(x.size());
    Comparison comparison(fp32_tolerance(std::max(hidden_, rows_)));
    if (backward_) {
      std::vector<double> dweight(weight.size());
      ref::rms_norm_backward<double>(rows_, hidden_, x, weight, doubled(arrays_.at(slope_, 0)),
                                     expected, dweight);
      comparison.values("dweight", arrays_.at(dweight_, 0), dweight);
    } else {
      ref::rms_norm<double>(rows_, hidden_, x, weight, expected);
    }
    comparison.values(backward_ ? "dx" : "y", arrays_.at(out_, 0), expected);
    return comparison.result();
  }

 private:
  std::int64_t rows_;
  std::int64_t hidden_;
  bool backward_;
  RotatingArrays& arrays_;
  RotatingArray x_, weight_, slope_, out_, dweight_;
};

class Quantise : public CpuKernel {
 public:
  Quantise(const KernelCase& c, RotatingArrays& arrays)
      : rows_(c.size("rows")), hidden_(c.size("hidden")), arrays_(arrays) {
    x_ = arrays.add(Store::kInput, rows_ * hidden_);
    bytes_ = arrays.add(Store::kOutput, (rows_ * hidden_ + 3) / 4);
    scales_ = arrays.add(Store::kOutput, rows_ * ref::blocks_of(hidden_));
  }

  void run(std::int64_t copy) override {
    ref::quantise(rows_, hidden_, arrays_.at(x_, copy), bytes(copy), arrays_.at(scales_, copy));
  }

  // By what quantising promises, not by the code that does it: a scale is the largest of its block
  // over 448, and each value is off by half a step at most (1/16 of itself, or 2^-10 of a scale).
  // Errors are in units of what is allowed.
  CheckResult check() override {
    poison(arrays_.at(bytes_, 0));
    poison(arrays_.at(scales_, 0));
    run(0);
    const std::span<const float> x = arrays_.at(x_, 0);
    const std::span<const float> scales = arrays_.at(scales_, 0);
    const std::span<const std::uint8_t> values = bytes(0);
    Comparison comparison(1);
    comparison.written("scales", scales);
    std::vector<float> misses;
    for (std::int64_t r = 0; r < rows_; ++r) {
      for (std::int64_t block = 0; block < ref::blocks_of(hidden_); ++block) {
        const double scale = scales[static_cast<std::size_t>(r * ref::blocks_of(hidden_) + block)];
        const std::int64_t end = std::min((block + 1) * ref::kScaleBlock, hidden_);
        double largest = 0;
        for (std::int64_t i = r * hidden_ + block * ref::kScaleBlock; i < r * hidden_ + end; ++i) {
          const double exact = x[static_cast<std::size_t>(i)];
          const double got = double(ref::from_e4m3(values[static_cast<std::size_t>(i)])) * scale;
          const double step = std::max(std::fabs(exact) / 16, scale * 0x1p-10) * (1 + 1e-5);
          misses.push_back(static_cast<float>((got - exact) / step));
          largest = std::max(largest, std::fabs(exact));
        }
        const double exact_scale = largest > 0 ? largest / double(ref::kLargestE4m3) : 1;
        misses.push_back(static_cast<float>((scale / exact_scale - 1) / 1e-6));
      }
    }
    comparison.values("values", misses, std::vector<double>(misses.size(), 0.0), 1);
    return comparison.result();
  }

 private:
  std::span<std::uint8_t> bytes(std::int64_t copy) {
    const std::span<float> floats = arrays_.at(bytes_, copy);
    return {reinterpret_cast<std::uint8_t*>(floats.data()),
            static_cast<std::size_t>(rows_ * hidden_)};
  }

  std::int64_t rows_;
  std::int64_t hidden_;
  RotatingArrays& arrays_;
  RotatingArray x_, bytes_, scales_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_activation(const KernelCase& c, RotatingArrays& arrays) {
  return std::make_unique<Activation>(c, arrays);
}
std::unique_ptr<CpuKernel> make_norm(const KernelCase& c, RotatingArrays& arrays) {
  return std::make_unique<Norm>(c, arrays);
}
std::unique_ptr<CpuKernel> make_quantise(const KernelCase& c, RotatingArrays& arrays) {
  return std::make_unique<Quantise>(c, arrays);
}

}  // namespace sim::microbench
