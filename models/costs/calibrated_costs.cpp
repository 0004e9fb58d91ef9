#include "models/costs/calibrated_costs.h"

#include <algorithm>
#include <limits>

#include "models/costs/backward_costs.h"
#include "sim/core/error.h"

namespace sim {
namespace {

// Kernels without matrices are the same whatever the model's formats are.
bool format_matters(KernelFamily family) {
  return family != KernelFamily::kStreaming && family != KernelFamily::kCopy;
}

bool fits(const KernelConstants& each, const KernelWish& wish, const Device& device,
          DType multiplied_here) {
  if (each.family != wish.family || (each.only_by_name && wish.source == nullptr)) return false;
  if (wish.source != nullptr && !each.called(*wish.source)) return false;
  if (format_matters(wish.family)) {
    if (each.format.stored != wish.format.stored) return false;
    if (multiplied_on(device, each.format.multiplied) != multiplied_here) return false;
    if (wish.exact_scales && each.format.block_scales != wish.format.block_scales) return false;
  }
  return each.operators.empty() ||
         (wish.op != nullptr && std::find(each.operators.begin(), each.operators.end(), *wish.op) !=
                                    each.operators.end());
}

KernelCost not_below(Flops flops, Bytes bytes, DType compute, const Device& device,
                     KernelCost cost) {
  static constexpr std::string_view kPeaks =
      "peaks of the data sheet: measured alone it is faster, with its weights in the L2";
  const Duration least = duration_from_seconds(
      std::max(flops.count() / peak_rate(device, compute).count(),
               static_cast<double>(bytes.count()) / device.memory_bandwidth.count()));
  if (cost.time >= least) return cost;
  cost.time = least;
  cost.label = CostLabel::kRoofline;
  cost.source = kPeaks;
  return cost;
}

}  // namespace

DeviceRates rates_for(const Device& device, DType multiplied, int sms) {
  SIM_CHECK(sms > 0 && sms <= device.sms, "a kernel gets some of the device's SMs");
  DeviceRates rates;
  rates.flops = peak_rate(device, multiplied).count() * sms / device.sms;
  rates.bytes = device.memory_bandwidth.count();
  rates.sms = sms;
  return rates;
}

const KernelConstants* choose_constants(const Device& device, const KernelWish& wish,
                                        const KernelCall& call) {
  const DType here = multiplied_on(device, wish.format.multiplied);
  const KernelConstants* best = nullptr;
  double nearest = -1;  // of `best`; below 0: not worked out yet
  for (const KernelConstants& each : device.kernels) {
    if (best != nullptr && each.source != best->source) continue;
    if (!fits(each, wish, device, here)) continue;
    if (best == nullptr) {
      best = &each;
      continue;
    }
    if (nearest < 0) nearest = distance_outside(*best, call);
    if (nearest == 0) break;
    const double distance = distance_outside(each, call);
    if (distance >= nearest) continue;
    best = &each;
    nearest = distance;
  }
  return best;
}

KernelCost calibrated_cost(const KernelConstants& constants, const KernelCall& call,
                           const Device& device, int sms) {
  const CalibratedParts result =
      evaluate(constants, call, rates_for(device, constants.format.multiplied, sms));
  KernelCost cost;
  cost.time = duration_from_seconds(result.parts.time);
  cost.fixed = duration_from_seconds(result.parts.fixed);
  cost.compute = duration_from_seconds(result.parts.compute);
  cost.memory = duration_from_seconds(result.parts.memory);
  cost.label = constants.label;
  cost.source = constants.provenance;
  cost.in_range = result.in_range;
  return cost;
}

const KernelConstants* CalibratedCosts::find(const Device& device, KernelWish wish,
                                             const KernelCall& call) const {
  const auto wanted = sources_.find(wish.family);
  if (wanted != sources_.end()) wish.source = &wanted->second;
  return choose_constants(device, wish, call);
}

const KernelConstants* CalibratedCosts::constants_for(const Operator& op,
                                                      const Device& device) const {
  const std::string* name = op.like.empty() ? &op.name : &op.like;
  return find(device, {op.family, {op.stored, op.compute, false}, false, name}, {.op = &op});
}

const KernelConstants* CalibratedCosts::constants_for(const ExpertFfn& ffn,
                                                      const Device& device) const {
  return find(device, {KernelFamily::kExpertFfn, {ffn.stored, ffn.compute, false}},
              {.experts = &ffn});
}

KernelCost CalibratedCosts::cost(const Operator& op, const Device& device, int sms) const {
  const KernelConstants* constants = constants_for(op, device);
  if (constants == nullptr) return roofline_.cost(op, device, sms);
  return not_below(op.flops, op.weight_bytes + op.activation_bytes, op.compute, device,
                   op.pass == KernelPass::kForward
                       ? calibrated_cost(*constants, {.op = &op}, device, sms)
                       : backward_cost(*constants, op, device, sms));
}

KernelCost CalibratedCosts::cost(const ExpertFfn& ffn, const Device& device, int sms) const {
  const bool empty =
      std::all_of(ffn.rows.begin(), ffn.rows.end(), [](std::int64_t rows) { return rows == 0; });
  const KernelConstants* constants = empty ? nullptr : constants_for(ffn, device);
  if (constants == nullptr) return roofline_.cost(ffn, device, sms);
  return not_below(
      flops_of(ffn), weight_bytes_of(ffn) + activation_bytes_of(ffn), ffn.compute, device,
      ffn.pass == KernelPass::kForward ? calibrated_cost(*constants, {.experts = &ffn}, device, sms)
                                       : backward_cost(*constants, ffn, device, sms));
}

std::span<const std::string> CalibratedCosts::covered(const ExpertFfn& ffn,
                                                      const Device& device) const {
  if (ffn.pass != KernelPass::kForward) return {};  // only its two products are priced
  const KernelConstants* constants = constants_for(ffn, device);
  if (constants == nullptr) return {};
  return constants->covers;
}

}  // namespace sim
