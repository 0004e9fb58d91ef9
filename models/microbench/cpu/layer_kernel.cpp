// moe_layer on the CPU. Its inputs are made so that the router itself, from the norm on, chooses
// the experts that give the rows of the case.
#include <algorithm>
#include <vector>

#include "models/microbench/comparison.h"
#include "models/microbench/cpu/cpu_kernel.h"
#include "models/microbench/reference/ffn_samples.h"
#include "models/microbench/reference/matrix.h"
#include "models/microbench/reference/moe_layer.h"
#include "models/microbench/reference/row_kernels.h"

namespace sim::microbench {

namespace {

namespace ref = sim::reference;

constexpr std::int64_t kSampledTokens = 6;

class MoeLayer : public CpuKernel {
 public:
  MoeLayer(const KernelCase& c, RotatingArrays& arrays)
      : rows_per_expert_(c.rows), arrays_(arrays) {
    shape_ = {c.size("tokens"), c.size("hidden"), c.size("inter"), c.size("experts"),
              c.size("top_k")};
    rows_per_expert_.resize(static_cast<std::size_t>(shape_.experts));
    const std::int64_t total = shape_.tokens * shape_.top_k;
    norm_ = arrays.add(Store::kOutput, shape_.hidden);  // written by make_input, as x_ is
    router_ = arrays.add(Store::kWeight, shape_.experts * shape_.hidden);
    gate_up_ = arrays.add(Store::kWeight, shape_.experts * 2 * shape_.inter * shape_.hidden);
    down_ = arrays.add(Store::kWeight, shape_.experts * shape_.hidden * shape_.inter);
    noise_ = arrays.add(Store::kInput, shape_.tokens * shape_.hidden);
    x_ = arrays.add(Store::kOutput, shape_.tokens * shape_.hidden);
    normed_ = arrays.add(Store::kOutput, shape_.tokens * shape_.hidden);
    logits_ = arrays.add(Store::kOutput, shape_.tokens * shape_.experts);
    weights_ = arrays.add(Store::kOutput, total);
    rows_ = arrays.add(Store::kOutput, total * shape_.hidden);
    before_ = arrays.add(Store::kOutput, total * 2 * shape_.inter);
    after_ = arrays.add(Store::kOutput, total * shape_.inter);
    results_ = arrays.add(Store::kOutput, total * shape_.hidden);
    y_ = arrays.add(Store::kOutput, shape_.tokens * shape_.hidden);
  }

  void prepare() override {
    wanted_ = ref::choices_with_rows(rows_per_expert_, shape_.tokens, shape_.top_k, 11);
    choices_.resize(wanted_.size());
    for (std::int64_t copy = 0; copy < arrays_.copies(); ++copy) make_input(copy);
  }

  void run(std::int64_t copy) override {
    ref::moe_layer<float>(shape_, arrays_.at(x_, copy), layer_weights(copy),
                          {arrays_.at(normed_, copy),
                           arrays_.at(logits_, copy),
                           arrays_.at(weights_, copy),
                           arrays_.at(rows_, copy),
                           {arrays_.at(before_, copy), arrays_.at(after_, copy)},
                           arrays_.at(results_, copy)},
                          choices_, order_, arrays_.at(y_, copy));
  }

  CheckResult check() override {
    for (const RotatingArray* output :
         {&normed_, &logits_, &weights_, &rows_, &before_, &after_, &results_, &y_}) {
      poison(arrays_.at(*output, 0));
    }
    run(0);
    Comparison comparison(fp32_tolerance(std::max(shape_.hidden, shape_.inter)));
    comparison.exact("rows per expert", counts() == rows_per_expert_);
    comparison.written("y", arrays_.at(y_, 0));
    std::vector<float> got;
    std::vector<double> expected;
    for (const std::int64_t token : sample(shape_.tokens, kSampledTokens)) {
      const std::span<float> y = token_of(y_, token);
      got.insert(got.end(), y.begin(), y.end());
      const std::vector<double> exact = output_of(token);
      expected.insert(expected.end(), exact.begin(), exact.end());
    }
    comparison.values("y", got, expected);
    return comparison.result();
  }

 private:
  std::span<float> token_of(const RotatingArray& array, std::int64_t token) {
    const auto hidden = static_cast<std::size_t>(shape_.hidden);
    return arrays_.at(array, 0).subspan(static_cast<std::size_t>(token) * hidden, hidden);
  }

  ref::LayerWeights<float> layer_weights(std::int64_t copy) {
    return {arrays_.at(norm_, copy),
            arrays_.at(router_, copy),
            {arrays_.at(gate_up_, copy), arrays_.at(down_, copy)}};
  }

  // Norm weights near 1. Tokens: noise, and the router's rows of the wanted experts, the first the
  // strongest. Rows of a random router are nearly at right angles, so those experts win by far.
  void make_input(std::int64_t copy) {
    const std::span<float> norm = arrays_.at(norm_, copy);
    for (std::size_t h = 0; h < norm.size(); ++h) norm[h] = 1 + static_cast<float>(h % 7) / 64;
    const std::span<float> router = arrays_.at(router_, copy);
    const std::span<float> noise = arrays_.at(noise_, copy);
    const std::span<float> x = arrays_.at(x_, copy);
    const auto hidden = static_cast<std::size_t>(shape_.hidden);
    const auto top_k = static_cast<std::size_t>(shape_.top_k);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = noise[i] / 4;
    for (std::size_t flat = 0; flat < wanted_.size(); ++flat) {
      const auto expert = static_cast<std::size_t>(wanted_[flat]);
      const float strength = 32 * (1 + 0.1f * static_cast<float>(top_k - flat % top_k));
      const std::size_t begin = flat / top_k * hidden;
      for (std::size_t h = 0; h < hidden; ++h)
        x[begin + h] += strength * router[expert * hidden + h];
    }
  }

  std::vector<std::int64_t> counts() const {
    std::vector<std::int64_t> counts;
    for (std::size_t e = 0; e + 1 < order_.offsets.size(); ++e) {
      counts.push_back(order_.offsets[e + 1] - order_.offsets[e]);
    }
    return counts;
  }

  // One token through the layer in double precision, from the norm to the weighted sum.
  std::vector<double> output_of(std::int64_t token) {
    const auto hidden = static_cast<std::size_t>(shape_.hidden);
    const auto doubled = [](std::span<const float> values) {
      return std::vector<double>(values.begin(), values.end());
    };
    std::vector<double> normed(hidden);
    ref::rms_norm<double>(1, shape_.hidden, doubled(token_of(x_, token)),
                          doubled(arrays_.at(norm_, 0)), normed);
    std::vector<double> logits(static_cast<std::size_t>(shape_.experts));
    ref::gemm<double>({1, shape_.experts, shape_.hidden}, normed, doubled(arrays_.at(router_, 0)),
                      logits);
    std::vector<std::int32_t> chosen(static_cast<std::size_t>(shape_.top_k));
    std::vector<double> weights(chosen.size());
    ref::top_k<double>({1, shape_.experts, shape_.top_k, ref::Gate::kSoftmax}, logits, chosen,
                       weights);
    std::vector<double> y(hidden, 0.0);
    std::vector<double> result(hidden);
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      const auto part = [&](const RotatingArray& array) {
        const auto one = static_cast<std::size_t>(array.size / shape_.experts);
        return arrays_.at(array, 0).subspan(static_cast<std::size_t>(chosen[i]) * one, one);
      };
      ref::ffn_of_row({shape_.hidden, shape_.inter, part(gate_up_), part(down_)}, normed, result);
      for (std::size_t h = 0; h < hidden; ++h) y[h] += weights[i] * result[h];
    }
    return y;
  }

  std::vector<std::int64_t> rows_per_expert_;
  RotatingArrays& arrays_;
  ref::LayerShape shape_;
  RotatingArray norm_, router_, gate_up_, down_, noise_, x_, normed_, logits_, weights_, rows_;
  RotatingArray before_, after_, results_, y_;
  std::vector<std::int32_t> wanted_;
  std::vector<std::int32_t> choices_;
  ref::ExpertOrder order_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_moe_layer(const KernelCase& c, RotatingArrays& arrays) {
  return std::make_unique<MoeLayer>(c, arrays);
}

}  // namespace sim::microbench
