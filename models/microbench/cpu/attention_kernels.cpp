// attention_prefill, attention_decode, mla_prefill and mla_decode on the CPU.
#include <algorithm>
#include <vector>

#include "models/microbench/comparison.h"
#include "models/microbench/cpu/cpu_kernel.h"
#include "models/microbench/reference/attention.h"

namespace sim::microbench {

namespace {

namespace ref = sim::reference;

constexpr std::int64_t kSampledQueries = 8;

class Attention : public CpuKernel {
 public:
  Attention(const KernelCase& c, RotatingArrays& arrays)
      : shape_(ref::attention_shape(c)),
        backward_(c.pass == "backward"),
        latent_(c.kernel == "mla_decode"),
        arrays_(arrays) {
    q_ = arrays.add(Store::kInput, shape_.query_size());
    k_ = arrays.add(Store::kInput, shape_.key_size());
    v_ = latent_ ? k_ : arrays.add(Store::kInput, shape_.value_size());
    out_ = arrays.add(backward_ ? Store::kInput : Store::kOutput, shape_.out_size());
    if (!backward_) return;
    slope_ = arrays.add(Store::kInput, shape_.out_size());
    dq_ = arrays.add(Store::kOutput, shape_.query_size());
    dk_ = arrays.add(Store::kOutput, shape_.key_size());
    dv_ = arrays.add(Store::kOutput, shape_.value_size());
  }

  void run(std::int64_t copy) override {
    if (backward_) {
      ref::attention_backward<float>(
          shape_, arrays_.at(q_, copy), arrays_.at(k_, copy), arrays_.at(v_, copy),
          arrays_.at(out_, copy), arrays_.at(slope_, copy),
          {arrays_.at(dq_, copy), arrays_.at(dk_, copy), arrays_.at(dv_, copy)}, scratch_);
    } else {
      ref::attention<float>(shape_, arrays_.at(q_, copy), arrays_.at(k_, copy),
                            arrays_.at(v_, copy), arrays_.at(out_, copy), scratch_);
    }
  }

  CheckResult check() override { return backward_ ? check_backward() : check_forward(); }

 private:
  CheckResult check_forward() {
    const std::span<float> out = arrays_.at(out_, 0);
    poison(out);
    run(0);
    Comparison comparison(fp32_tolerance(shape_.context));
    comparison.written("output", out);
    std::vector<float> got;
    std::vector<double> expected;
    std::vector<double> result(static_cast<std::size_t>(shape_.value_dim));
    const std::int64_t all = shape_.sequences * shape_.queries * shape_.heads;
    for (const std::int64_t at : sample(all, kSampledQueries)) {
      const std::int64_t head = at % shape_.heads;
      const std::int64_t query = at / shape_.heads % shape_.queries;
      const std::int64_t sequence = at / shape_.heads / shape_.queries;
      ref::attention_of_one(shape_, arrays_.at(q_, 0), arrays_.at(k_, 0), arrays_.at(v_, 0),
                            sequence, query, head, result);
      const auto begin = out.begin() + at * shape_.value_dim;
      got.insert(got.end(), begin, begin + shape_.value_dim);
      expected.insert(expected.end(), result.begin(), result.end());
    }
    comparison.values("output", got, expected);
    return comparison.result();
  }

  // The same steps in double precision, products by plain loops; that the steps are the gradient is
  // tested against finite differences (tests/microbench).
  CheckResult check_backward() {
    for (const RotatingArray* output : {&dq_, &dk_, &dv_}) poison(arrays_.at(*output, 0));
    run(0);
    const auto doubled = [&](const RotatingArray& array) {
      const std::span<float> values = arrays_.at(array, 0);
      return std::vector<double>(values.begin(), values.end());
    };
    std::vector<double> dq(static_cast<std::size_t>(dq_.size));
    std::vector<double> dk(static_cast<std::size_t>(dk_.size));
    std::vector<double> dv(static_cast<std::size_t>(dv_.size));
    std::vector<double> scratch;
    ref::attention_backward<double>(shape_, doubled(q_), doubled(k_), doubled(v_), doubled(out_),
                                    doubled(slope_), {dq, dk, dv}, scratch);
    Comparison comparison(fp32_tolerance(shape_.context * shape_.group()));
    comparison.values("dq", arrays_.at(dq_, 0), dq);
    comparison.values("dk", arrays_.at(dk_, 0), dk);
    comparison.values("dv", arrays_.at(dv_, 0), dv);
    return comparison.result();
  }

  ref::AttentionShape shape_;
  bool backward_;
  bool latent_;
  RotatingArrays& arrays_;
  RotatingArray q_, k_, v_, out_, slope_, dq_, dk_, dv_;
  std::vector<float> scratch_;
};

}  // namespace

std::unique_ptr<CpuKernel> make_attention(const KernelCase& c, RotatingArrays& arrays) {
  return std::make_unique<Attention>(c, arrays);
}

}  // namespace sim::microbench
