#include "models/costs/backward_costs.h"

#include <algorithm>

#include "models/backward.h"
#include "sim/core/error.h"

namespace sim {

namespace {

constexpr double kAttentionBackwardShare = 63.0 / 73.0;
constexpr std::string_view kExperts =
    "constants of the forward's grouped GEMM on the backward's products";
constexpr std::string_view kAttention =
    "forward's calibrated time x flops ratio / 0.863 (FlashAttention-2: 63 % of peak backward, "
    "73 % forward)";
constexpr std::string_view kLikeForward = "constants of the forward kernel on the backward's bytes";

KernelCost assumed(KernelCost cost, std::string_view why) {
  cost.label = CostLabel::kAssumed;
  cost.source = why;
  return cost;
}

// An 8-bit weight gradient's operands are both scaled per 128 values along the product's inner
// dimension. Hopper adds such products up outside its tensor cores; where these know scaled formats
// (those with 4-bit peaks) they do it themselves.
constexpr double kNarrowWeightGradient = 1.72;
constexpr std::string_view kNarrowFittedOn = "h800-sxm";
constexpr std::string_view kNarrowGemm =
    "forward's GEMM constants x 1.72: fitted to 28 weight gradients of deepseek-ai/profile-data, "
    "train.json (H800; deepseek_train_trace_compute_kernels): error median 3.6 %, 90th percentile "
    "7.4 %";
constexpr std::string_view kNarrowExperts =
    "constants of the forward's grouped GEMM on the backward's products, x 1.72 as dense 8-bit "
    "weight gradients (deepseek_train_trace_compute_kernels)";

bool scales_outside(KernelPass pass, DType multiplied, const Device& device) {
  return pass == KernelPass::kWeightGradient && multiplied_on(device, multiplied) == DType::kFp8 &&
         !device.peak.contains(DType::kMxfp4) && !device.peak.contains(DType::kNvfp4);
}

KernelCost slower(KernelCost cost, CostLabel label, std::string_view why) {
  cost.time = cost.fixed +
              duration_from_seconds(to_seconds(cost.time - cost.fixed) * kNarrowWeightGradient);
  cost.compute = duration_from_seconds(to_seconds(cost.compute) * kNarrowWeightGradient);
  cost.label = label;
  cost.source = why;
  return cost;
}

KernelCost attention_backward(const KernelConstants& constants, const Operator& op,
                              const Device& device, int sms) {
  Operator forward = op;
  forward.flops = attention_core_flops(op.attention);
  forward.activation_bytes = attention_core_bytes(op.attention, op.compute);
  const CalibratedParts result =
      evaluate(constants, {.op = &forward}, rates_for(device, constants.format.multiplied, sms));
  const KernelParts& parts = result.parts;
  const double times = op.flops.count() / forward.flops.count() / kAttentionBackwardShare;
  const double bytes = static_cast<double>(op.activation_bytes.count()) /
                       static_cast<double>(forward.activation_bytes.count());
  const double time =
      parts.fixed + std::max((parts.time - parts.fixed) * times, parts.memory * bytes);
  KernelCost cost;
  cost.time = duration_from_seconds(time);
  cost.fixed = duration_from_seconds(parts.fixed);
  cost.compute = duration_from_seconds(parts.compute * times);
  cost.memory = duration_from_seconds(parts.memory * bytes);
  cost.in_range = result.in_range;
  return assumed(cost, kAttention);
}

}  // namespace

KernelCost backward_cost(const KernelConstants& constants, const Operator& op, const Device& device,
                         int sms) {
  SIM_CHECK(op.pass != KernelPass::kForward, "a backward kernel");
  switch (op.family) {
    case KernelFamily::kGemm: {
      const KernelCost cost = calibrated_cost(constants, {.op = &op}, device, sms);
      return scales_outside(op.pass, op.compute, device)
                 ? slower(cost,
                          device.name == kNarrowFittedOn ? CostLabel::kFitted : CostLabel::kAssumed,
                          kNarrowGemm)
                 : cost;
    }
    case KernelFamily::kAttentionPrefill:
    case KernelFamily::kMlaPrefill:
      return attention_backward(constants, op, device, sms);
    default:
      return assumed(calibrated_cost(constants, {.op = &op}, device, sms), kLikeForward);
  }
}

KernelCost backward_cost(const KernelConstants& constants, const ExpertFfn& ffn,
                         const Device& device, int sms) {
  SIM_CHECK(ffn.pass != KernelPass::kForward, "a backward kernel");
  const KernelCost cost = calibrated_cost(constants, {.experts = &ffn}, device, sms);
  return scales_outside(ffn.pass, ffn.compute, device)
             ? slower(cost, CostLabel::kAssumed, kNarrowExperts)
             : assumed(cost, kExperts);
}

}  // namespace sim
