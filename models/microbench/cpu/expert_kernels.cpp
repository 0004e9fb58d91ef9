// expert_ffn on the CPU, forward and backward.
#include <algorithm>
#include <vector>

#include "models/microbench/comparison.h"
#include "models/microbench/cpu/cpu_kernel.h"
#include "models/microbench/reference/expert_ffn.h"
#include "models/microbench/reference/ffn_samples.h"
#include "models/microbench/reference/grouped_gemm.h"

namespace sim::microbench {

namespace {

namespace ref = sim::reference;

constexpr std::int64_t kSampledRows = 12;
constexpr std::int64_t kSampledExperts = 4;
constexpr std::int64_t kSampledColumns = 3;  // of the intermediate size, per expert

class ExpertFfn : public CpuKernel {
 public:
  ExpertFfn(const KernelCase& c, RotatingArrays& arrays)
      : offsets_(ref::row_offsets(c.rows, 1)),
        hidden_(c.size("hidden")),
        inter_(c.size("inter")),
        backward_(c.pass == "backward"),
        arrays_(arrays) {
    const std::int64_t experts = static_cast<std::int64_t>(c.rows.size());
    const std::int64_t total = offsets_.back();
    const Store kept = backward_ ? Store::kInput : Store::kOutput;  // between the two passes
    x_ = arrays.add(Store::kInput, total * hidden_);
    gate_up_ = arrays.add(Store::kWeight, experts * 2 * inter_ * hidden_);
    down_ = arrays.add(Store::kWeight, experts * hidden_ * inter_);
    before_ = arrays.add(kept, total * 2 * inter_);
    after_ = arrays.add(kept, total * inter_);
    y_ = arrays.add(kept, total * hidden_);  // its gradient in the backward pass
    if (!backward_) return;
    scratch_before_ = arrays.add(Store::kOutput, total * 2 * inter_);
    scratch_after_ = arrays.add(Store::kOutput, total * inter_);
    dx_ = arrays.add(Store::kOutput, total * hidden_);
    dgate_up_ = arrays.add(Store::kOutput, gate_up_.size);
    ddown_ = arrays.add(Store::kOutput, down_.size);
  }

  void run(std::int64_t copy) override {
    const ref::FfnShape shape{offsets_, hidden_, inter_};
    const ref::FfnWeights<float> weights{arrays_.at(gate_up_, copy), arrays_.at(down_, copy)};
    const ref::FfnActivations<float> kept{arrays_.at(before_, copy), arrays_.at(after_, copy)};
    if (!backward_) {
      return ref::expert_ffn<float>(shape, arrays_.at(x_, copy), weights, kept,
                                    arrays_.at(y_, copy));
    }
    ref::expert_ffn_backward<float>(
        shape, arrays_.at(x_, copy), weights, kept, arrays_.at(y_, copy),
        {arrays_.at(scratch_before_, copy), arrays_.at(scratch_after_, copy)},
        {arrays_.at(dx_, copy), arrays_.at(dgate_up_, copy), arrays_.at(ddown_, copy)});
  }

  CheckResult check() override {
    Comparison comparison(fp32_tolerance(std::max({hidden_, inter_, most_rows()})));
    if (!backward_) {
      poison(arrays_.at(y_, 0));
      poison(arrays_.at(before_, 0));
      poison(arrays_.at(after_, 0));
      run(0);
      comparison.written("y", arrays_.at(y_, 0));
      compare_rows(comparison, "y", y_);
      return comparison.result();
    }
    for (const RotatingArray* output : {&dx_, &dgate_up_, &ddown_}) poison(arrays_.at(*output, 0));
    run(0);
    comparison.written("dx", arrays_.at(dx_, 0));
    comparison.written("dgate_up", arrays_.at(dgate_up_, 0));
    comparison.written("ddown", arrays_.at(ddown_, 0));
    compare_rows(comparison, "dx", dx_);
    compare_columns(comparison);
    return comparison.result();
  }

 private:
  std::int64_t experts() const { return static_cast<std::int64_t>(offsets_.size()) - 1; }
  std::int64_t rows_of(std::int64_t expert) const {
    return offsets_[static_cast<std::size_t>(expert) + 1] -
           offsets_[static_cast<std::size_t>(expert)];
  }
  std::int64_t most_rows() const {
    std::int64_t most = 0;
    for (std::int64_t e = 0; e < experts(); ++e) most = std::max(most, rows_of(e));
    return most;
  }
  std::span<float> part(const RotatingArray& array, std::int64_t begin, std::int64_t count,
                        std::int64_t width) {
    return arrays_.at(array, 0).subspan(static_cast<std::size_t>(begin * width),
                                        static_cast<std::size_t>(count * width));
  }
  ref::OneExpert one(std::int64_t expert) {
    return {hidden_, inter_, part(gate_up_, expert, 1, 2 * inter_ * hidden_),
            part(down_, expert, 1, hidden_ * inter_)};
  }

  void compare_rows(Comparison& comparison, const char* name, const RotatingArray& output) {
    std::vector<float> got;
    std::vector<double> expected;
    std::vector<double> result(static_cast<std::size_t>(hidden_));
    for (const std::int64_t row : sample(offsets_.back(), kSampledRows)) {
      const auto end = std::upper_bound(offsets_.begin(), offsets_.end(), row);
      const std::int64_t expert = end - offsets_.begin() - 1;
      if (backward_) {
        ref::ffn_slope_of_row(one(expert), part(before_, row, 1, 2 * inter_),
                              part(y_, row, 1, hidden_), result);
      } else {
        const std::span<float> x = part(x_, row, 1, hidden_);
        ref::ffn_of_row(one(expert), std::vector<double>(x.begin(), x.end()), result);
      }
      const std::span<float> out = part(output, row, 1, hidden_);
      got.insert(got.end(), out.begin(), out.end());
      expected.insert(expected.end(), result.begin(), result.end());
    }
    comparison.values(name, got, expected);
  }

  void compare_columns(Comparison& comparison) {
    std::vector<double> dgate(static_cast<std::size_t>(hidden_));
    std::vector<double> dup(dgate.size());
    std::vector<double> ddown(dgate.size());
    std::vector<float> got_up, got_down;
    std::vector<double> up, down;
    for (const std::int64_t expert : sample(experts(), kSampledExperts)) {
      const std::int64_t begin = offsets_[static_cast<std::size_t>(expert)];
      const std::int64_t count = rows_of(expert);
      for (const std::int64_t i : sample(inter_, kSampledColumns)) {
        ref::ffn_slopes_of_column(one(expert), count, part(x_, begin, count, hidden_),
                                  part(before_, begin, count, 2 * inter_),
                                  part(after_, begin, count, inter_),
                                  part(y_, begin, count, hidden_), i, {dgate, dup, ddown});
        const std::span<float> gate_up = part(dgate_up_, expert, 1, 2 * inter_ * hidden_);
        const std::span<float> of_down = part(ddown_, expert, 1, hidden_ * inter_);
        for (std::int64_t h = 0; h < hidden_; ++h) {
          got_up.push_back(gate_up[static_cast<std::size_t>(i * hidden_ + h)]);
          got_up.push_back(gate_up[static_cast<std::size_t>((inter_ + i) * hidden_ + h)]);
          up.push_back(dgate[static_cast<std::size_t>(h)]);
          up.push_back(dup[static_cast<std::size_t>(h)]);
          got_down.push_back(of_down[static_cast<std::size_t>(h * inter_ + i)]);
          down.push_back(ddown[static_cast<std::size_t>(h)]);
        }
      }
    }
    comparison.values("dgate_up", got_up, up, 1e-3);  // zero when no sampled expert has rows
    comparison.values("ddown", got_down, down, 1e-3);
  }

  std::vector<std::int64_t> offsets_;
  std::int64_t hidden_;
  std::int64_t inter_;
  bool backward_;
  RotatingArrays& arrays_;
  RotatingArray x_, gate_up_, down_, before_, after_, y_;
  RotatingArray scratch_before_, scratch_after_, dx_, dgate_up_, ddown_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_expert_ffn(const KernelCase& c, RotatingArrays& arrays) {
  return std::make_unique<ExpertFfn>(c, arrays);
}

}  // namespace sim::microbench
