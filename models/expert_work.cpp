#include "models/expert_work.h"

#include <cmath>

#include "models/operator_builder.h"
#include "sim/core/error.h"

namespace sim {

namespace {

Bytes whole(double bytes) { return Bytes(static_cast<std::int64_t>(std::ceil(bytes))); }

struct Sizes {
  double rows = 0;
  double touched = 0;  // experts with a row
  double hidden = 0;
  double inter = 0;
  double up = 0;   // columns of the first product
  double in = 0;   // bytes per value that a product reads
  double out = 0;  // bytes per value that it writes
  bool quantised = false;
};

Sizes sizes_of(const ExpertFfn& ffn) {
  Sizes s;
  for (const std::int64_t r : ffn.rows) {
    SIM_CHECK(r >= 0, "an expert receives no fewer than no rows");
    s.rows += static_cast<double>(r);
    s.touched += r > 0 ? 1 : 0;
  }
  s.hidden = static_cast<double>(ffn.hidden);
  s.inter = static_cast<double>(ffn.inter);
  s.up = static_cast<double>((ffn.gated ? 2 : 1) + ffn.extra_up) * s.inter;
  s.in = gemm_input_bytes(ffn.compute, ffn.activations);
  s.out = bytes_per_value(ffn.activations);
  s.quantised = quantises(ffn.compute);
  return s;
}

ExpertWork forward_work(const Sizes& s, double weight) {
  ExpertWork work;
  work.first = {2 * s.rows * s.up * s.hidden, weight * s.up * s.hidden,
                s.rows * (s.hidden * s.in + s.up * s.out)};
  work.between_bytes = s.rows * (s.up * s.out + s.inter * s.in);
  work.second = {2 * s.rows * s.inter * s.hidden, weight * s.inter * s.hidden,
                 s.rows * (s.inter * s.in + s.hidden * s.out)};
  return work;
}

ExpertWork input_gradient_work(const Sizes& s, double weight) {
  ExpertWork work;
  work.first = {2 * s.rows * s.inter * s.hidden, weight * s.inter * s.hidden,
                s.rows * (s.hidden * s.in + s.inter * s.out)};
  // Reads what entered the activation and the gradient of what left it, writes the gradient of the
  // former.
  const double gradient = s.quantised ? 2 * s.in : s.out;
  work.between_bytes = s.rows * (s.up * s.out + s.inter * s.out + s.up * gradient);
  if (s.quantised) work.between_bytes += s.rows * s.hidden * (s.out + 2 * s.in);
  work.second = {2 * s.rows * s.up * s.hidden, weight * s.up * s.hidden,
                 s.rows * (s.up * s.in + s.hidden * s.out)};
  return work;
}

ExpertWork weight_gradient_work(const Sizes& s, double gradient) {
  ExpertWork work;
  work.first = {2 * s.rows * s.inter * s.hidden, 2 * gradient * s.inter * s.hidden,
                s.rows * (s.hidden + s.inter) * s.in};
  if (s.quantised) work.between_bytes = s.rows * s.hidden * 2 * s.in;
  work.second = {2 * s.rows * s.up * s.hidden, 2 * gradient * s.up * s.hidden,
                 s.rows * (s.up + s.hidden) * s.in};
  return work;
}

}  // namespace

ExpertWork expert_work(const ExpertFfn& ffn) {
  const Sizes s = sizes_of(ffn);
  switch (ffn.pass) {
    case KernelPass::kForward:
      return forward_work(s, s.touched * bytes_per_value(ffn.stored));
    case KernelPass::kInputGradient:
      return input_gradient_work(s, s.touched * bytes_per_value(ffn.stored));
    case KernelPass::kWeightGradient:
      return weight_gradient_work(s, s.touched * bytes_per_value(ffn.gradients));
  }
  SIM_CHECK(false, "every pass has its work");
}

Operator expert_activation_operator(const ExpertFfn& ffn) {
  SIM_CHECK(ffn.pass == KernelPass::kForward, "the forward's activation");
  const Sizes s = sizes_of(ffn);
  Operator op;
  op.name = "expert_activation";
  op.kind = OperatorKind::kExperts;
  op.compute = DType::kFp32;
  op.flops = Flops(5 * s.rows * s.inter);
  op.activation_bytes = whole(s.rows * (s.up * s.out + s.inter * s.in));
  return op;
}

Flops flops_of(const ExpertFfn& ffn) {
  const ExpertWork work = expert_work(ffn);
  return Flops(work.first.flops + work.second.flops);
}

Bytes weight_bytes_of(const ExpertFfn& ffn) {
  const ExpertWork work = expert_work(ffn);
  return whole(work.first.weight_bytes + work.second.weight_bytes);
}

Bytes activation_bytes_of(const ExpertFfn& ffn) {
  const ExpertWork work = expert_work(ffn);
  return whole(work.first.activation_bytes + work.between_bytes + work.second.activation_bytes);
}

}  // namespace sim
