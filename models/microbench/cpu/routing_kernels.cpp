// top_k, permute and unpermute on the CPU.
#include <algorithm>
#include <vector>

#include "models/microbench/comparison.h"
#include "models/microbench/cpu/cpu_kernel.h"
#include "models/microbench/reference/number_formats.h"
#include "models/microbench/reference/routing.h"

namespace sim::microbench {

namespace {

namespace ref = sim::reference;

std::vector<double> doubled(std::span<const float> values) {
  return {values.begin(), values.end()};
}

class TopK : public CpuKernel {
 public:
  TopK(const KernelCase& c, RotatingArrays& arrays)
      : shape_{c.size("tokens"), c.size("experts"), c.size("top_k"),
               ref::gate_of(c.option("gate"))},
        backward_(c.pass == "backward"),
        arrays_(arrays) {
    logits_ = arrays.add(Store::kInput, shape_.tokens * shape_.experts);
    weights_ = arrays.add(Store::kOutput, shape_.tokens * shape_.top_k);
    if (backward_) {
      slope_ = arrays.add(Store::kInput, shape_.tokens * shape_.top_k);
      dlogits_ = arrays.add(Store::kOutput, shape_.tokens * shape_.experts);
    }
  }

  void prepare() override {
    choices_.resize(static_cast<std::size_t>(arrays_.copies()));
    for (auto& choices : choices_) {
      choices.assign(static_cast<std::size_t>(shape_.tokens * shape_.top_k), -1);
    }
    if (!backward_) return;
    for (std::int64_t copy = 0; copy < arrays_.copies(); ++copy) forward(copy);
  }

  void run(std::int64_t copy) override {
    if (!backward_) return forward(copy);
    ref::top_k_backward<float>(shape_, arrays_.at(logits_, copy), choices(copy),
                               arrays_.at(weights_, copy), arrays_.at(slope_, copy),
                               arrays_.at(dlogits_, copy));
  }

  CheckResult check() override {
    const std::span<float> output = arrays_.at(backward_ ? dlogits_ : weights_, 0);
    poison(output);
    run(0);
    const std::vector<double> logits = doubled(arrays_.at(logits_, 0));
    std::vector<std::int32_t> expected_choices(choices(0).size(), -1);
    std::vector<double> weights(choices(0).size());
    ref::top_k<double>(shape_, logits, expected_choices, weights);
    Comparison comparison(fp32_tolerance(shape_.top_k));
    comparison.exact("choices", expected_choices == choices(0));
    if (backward_) {
      const std::vector<double> slope = doubled(arrays_.at(slope_, 0));
      std::vector<double> dlogits(logits.size());
      ref::top_k_backward<double>(shape_, logits, expected_choices, weights, slope, dlogits);
      comparison.values("dlogits", output, dlogits, 1e-3);
    } else {
      comparison.values("weights", output, weights);
    }
    return comparison.result();
  }

 private:
  std::vector<std::int32_t>& choices(std::int64_t copy) {
    return choices_[static_cast<std::size_t>(copy)];
  }
  void forward(std::int64_t copy) {
    ref::top_k<float>(shape_, arrays_.at(logits_, copy), choices(copy), arrays_.at(weights_, copy));
  }

  ref::TopKShape shape_;
  bool backward_;
  RotatingArrays& arrays_;
  RotatingArray logits_, weights_, slope_, dlogits_;
  std::vector<std::vector<std::int32_t>> choices_;
};

// The choices of a case: those that give its rows, or uniform ones.
std::vector<std::int32_t> choices_of(const KernelCase& c) {
  const std::int64_t tokens = c.size("tokens");
  const std::int64_t top_k = c.size("top_k");
  const auto experts = static_cast<std::size_t>(c.size("experts"));
  std::vector<std::int64_t> rows = c.rows;
  if (rows.empty()) {
    rows.assign(experts, tokens * top_k / c.size("experts"));
    const auto rest = static_cast<std::size_t>(tokens * top_k % c.size("experts"));
    for (std::size_t e = 0; e < rest; ++e) ++rows[e];
  }
  rows.resize(experts);
  return ref::choices_with_rows(rows, tokens, top_k, 7);
}

class Permute : public CpuKernel {
 public:
  Permute(const KernelCase& c, RotatingArrays& arrays)
      : shape_{c.size("tokens"), c.size("hidden"), c.size("top_k")},
        experts_(c.size("experts")),
        backward_(c.pass == "backward"),
        quantised_(c.option("quantise") == "fp8"),
        choices_(choices_of(c)),
        arrays_(arrays) {
    const std::int64_t rows = shape_.tokens * shape_.top_k;
    x_ = arrays.add(backward_ ? Store::kOutput : Store::kInput, shape_.tokens * shape_.hidden);
    if (quantised_) {
      bytes_ = arrays.add(Store::kOutput, (rows * shape_.hidden + 3) / 4);
      scales_ = arrays.add(Store::kOutput, rows * ref::blocks_of(shape_.hidden));
    } else {
      rows_ = arrays.add(backward_ ? Store::kInput : Store::kOutput, rows * shape_.hidden);
    }
    ref::order_by_expert(choices_, experts_, order_);
  }

  void run(std::int64_t copy) override {
    if (backward_) {
      return ref::permute_backward<float>(shape_, order_, arrays_.at(rows_, copy),
                                          arrays_.at(x_, copy));
    }
    ref::order_by_expert(choices_, experts_, order_);
    if (quantised_) return gather_quantised(copy);
    ref::permute<float>(shape_, order_, arrays_.at(x_, copy), arrays_.at(rows_, copy));
  }

  CheckResult check() override {
    Comparison comparison(fp32_tolerance(shape_.top_k));
    if (quantised_) return check_quantised(comparison);
    const RotatingArray& output = backward_ ? x_ : rows_;
    poison(arrays_.at(output, 0));
    run(0);
    comparison.exact("order", ordered());
    // By the flat choices alone: the sum of a token's rows, or each row's token.
    const std::span<const float> x = arrays_.at(x_, 0);
    const std::span<const float> rows = arrays_.at(rows_, 0);
    const auto hidden = static_cast<std::size_t>(shape_.hidden);
    std::vector<double> expected(static_cast<std::size_t>(output.size));
    for (std::size_t flat = 0; flat < choices_.size(); ++flat) {
      const std::size_t token = flat / static_cast<std::size_t>(shape_.top_k) * hidden;
      const std::size_t row = static_cast<std::size_t>(order_.position[flat]) * hidden;
      for (std::size_t h = 0; h < hidden; ++h) {
        if (backward_) {
          expected[token + h] += rows[row + h];
        } else {
          expected[row + h] = x[token + h];
        }
      }
    }
    comparison.values(backward_ ? "dx" : "rows", arrays_.at(output, 0), expected);
    return comparison.result();
  }

 private:
  std::span<std::uint8_t> bytes(std::int64_t copy) {
    return {reinterpret_cast<std::uint8_t*>(arrays_.at(bytes_, copy).data()),
            static_cast<std::size_t>(shape_.tokens * shape_.top_k * shape_.hidden)};
  }

  // Each token is quantised once per row, from where it lies: no rows in fp32 are written.
  void gather_quantised(std::int64_t copy) {
    const std::span<const float> x = arrays_.at(x_, copy);
    const std::span<std::uint8_t> values = bytes(copy);
    const std::span<float> scales = arrays_.at(scales_, copy);
    const auto hidden = static_cast<std::size_t>(shape_.hidden);
    const auto blocks = static_cast<std::size_t>(ref::blocks_of(shape_.hidden));
    for (std::size_t r = 0; r < order_.source.size(); ++r) {
      const auto token = static_cast<std::size_t>(order_.source[r] / shape_.top_k);
      ref::quantise(1, shape_.hidden, x.subspan(token * hidden, hidden),
                    values.subspan(r * hidden, hidden), scales.subspan(r * blocks, blocks));
    }
  }

  // What quantising does to a row is the kernel `quantise`'s check; here: which row lies where.
  CheckResult check_quantised(Comparison& comparison) {
    poison(arrays_.at(bytes_, 0));
    poison(arrays_.at(scales_, 0));
    run(0);
    comparison.exact("order", ordered());
    const auto hidden = static_cast<std::size_t>(shape_.hidden);
    const auto blocks = static_cast<std::size_t>(ref::blocks_of(shape_.hidden));
    std::vector<std::uint8_t> row(hidden);
    std::vector<float> scale(blocks);
    bool equal = true;
    for (std::size_t flat = 0; flat < choices_.size(); ++flat) {
      const std::size_t token = flat / static_cast<std::size_t>(shape_.top_k);
      const auto at = static_cast<std::size_t>(order_.position[flat]);
      ref::quantise(1, shape_.hidden, arrays_.at(x_, 0).subspan(token * hidden, hidden), row,
                    scale);
      equal = equal && std::ranges::equal(row, bytes(0).subspan(at * hidden, hidden)) &&
              std::ranges::equal(scale, arrays_.at(scales_, 0).subspan(at * blocks, blocks));
    }
    comparison.exact("quantised rows", equal);
    return comparison.result();
  }

  // Rows are a permutation of the choices, expert after expert.
  bool ordered() const {
    std::vector<bool> seen(choices_.size(), false);
    for (std::size_t flat = 0; flat < choices_.size(); ++flat) {
      const auto row = static_cast<std::size_t>(order_.position[flat]);
      const auto expert = static_cast<std::size_t>(choices_[flat]);
      if (row >= seen.size() || seen[row]) return false;
      seen[row] = true;
      const auto at = static_cast<std::int64_t>(row);
      if (at < order_.offsets[expert] || at >= order_.offsets[expert + 1]) return false;
    }
    return true;
  }

  ref::PermuteShape shape_;
  std::int64_t experts_;
  bool backward_;
  bool quantised_;
  std::vector<std::int32_t> choices_;
  RotatingArrays& arrays_;
  RotatingArray x_, rows_, bytes_, scales_;
  ref::ExpertOrder order_;
};

class Unpermute : public CpuKernel {
 public:
  Unpermute(const KernelCase& c, RotatingArrays& arrays)
      : shape_{c.size("tokens"), c.size("hidden"), c.size("top_k")},
        backward_(c.pass == "backward"),
        arrays_(arrays) {
    const std::int64_t rows = shape_.tokens * shape_.top_k;
    ref::order_by_expert(choices_of(c), c.size("experts"), order_);
    rows_ = arrays.add(Store::kInput, rows * shape_.hidden);
    weights_ = arrays.add(Store::kInput, rows);
    y_ = arrays.add(backward_ ? Store::kInput : Store::kOutput, shape_.tokens * shape_.hidden);
    if (backward_) {
      drows_ = arrays.add(Store::kOutput, rows * shape_.hidden);
      dweights_ = arrays.add(Store::kOutput, rows);
    }
  }

  void run(std::int64_t copy) override {
    if (backward_) {
      ref::unpermute_backward<float>(shape_, order_, arrays_.at(rows_, copy),
                                     arrays_.at(weights_, copy), arrays_.at(y_, copy),
                                     arrays_.at(drows_, copy), arrays_.at(dweights_, copy));
    } else {
      ref::unpermute<float>(shape_, order_, arrays_.at(rows_, copy), arrays_.at(weights_, copy),
                            arrays_.at(y_, copy));
    }
  }

  CheckResult check() override {
    const std::vector<double> rows = doubled(arrays_.at(rows_, 0));
    const std::vector<double> weights = doubled(arrays_.at(weights_, 0));
    Comparison comparison(fp32_tolerance(backward_ ? shape_.hidden : shape_.top_k));
    if (!backward_) {
      poison(arrays_.at(y_, 0));
      run(0);
      std::vector<double> y(static_cast<std::size_t>(y_.size));
      ref::unpermute<double>(shape_, order_, rows, weights, y);
      comparison.values("y", arrays_.at(y_, 0), y);
      return comparison.result();
    }
    poison(arrays_.at(drows_, 0));
    poison(arrays_.at(dweights_, 0));
    run(0);
    std::vector<double> drows(rows.size());
    std::vector<double> dweights(weights.size());
    ref::unpermute_backward<double>(shape_, order_, rows, weights, doubled(arrays_.at(y_, 0)),
                                    drows, dweights);
    comparison.values("drows", arrays_.at(drows_, 0), drows);
    comparison.values("dweights", arrays_.at(dweights_, 0), dweights);
    return comparison.result();
  }

 private:
  ref::PermuteShape shape_;
  bool backward_;
  RotatingArrays& arrays_;
  RotatingArray rows_, weights_, y_, drows_, dweights_;
  ref::ExpertOrder order_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_top_k(const KernelCase& c, RotatingArrays& arrays) {
  return std::make_unique<TopK>(c, arrays);
}
std::unique_ptr<CpuKernel> make_permute(const KernelCase& c, RotatingArrays& arrays) {
  return std::make_unique<Permute>(c, arrays);
}
std::unique_ptr<CpuKernel> make_unpermute(const KernelCase& c, RotatingArrays& arrays) {
  return std::make_unique<Unpermute>(c, arrays);
}

}  // namespace sim::microbench
