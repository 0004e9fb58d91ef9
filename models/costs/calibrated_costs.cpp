#include "models/costs/calibrated_costs.h"

#include <algorithm>

#include "sim/core/error.h"

namespace sim {
namespace {

// Kernels without matrices are the same whatever the model's formats are.
bool format_matters(KernelFamily family) {
  return family != KernelFamily::kStreaming && family != KernelFamily::kCopy;
}

KernelCost priced(const KernelConstants& constants, const KernelCall& call,
                  const DeviceRates& rates) {
  const CalibratedParts result = evaluate(constants, call, rates);
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

}  // namespace

DeviceRates rates_for(const Device& device, DType multiplied, int sms) {
  SIM_CHECK(sms > 0 && sms <= device.sms, "a kernel gets some of the device's SMs");
  DeviceRates rates;
  rates.flops = peak_rate(device, multiplied).count() * sms / device.sms;
  rates.bytes = device.memory_bandwidth.count();
  rates.sms = sms;
  return rates;
}

const KernelConstants* CalibratedCosts::find(const Device& device, KernelFamily family,
                                             DType stored, DType multiplied,
                                             const KernelCall& call) const {
  const KernelConstants* first = nullptr;
  const auto wanted = sources_.find(family);
  const DType on = multiplied_on(device, multiplied);
  for (const KernelConstants& each : device.kernels) {
    if (each.family != family) continue;
    if (wanted != sources_.end() && !each.called(wanted->second)) continue;
    if (format_matters(family) &&
        (each.format.stored != stored || multiplied_on(device, each.format.multiplied) != on)) {
      continue;
    }
    if (!each.operators.empty() &&
        (call.op == nullptr || std::find(each.operators.begin(), each.operators.end(),
                                         call.op->name) == each.operators.end())) {
      continue;
    }
    if (first == nullptr) first = &each;
    if (each.source == first->source && in_range(each, call)) return &each;
  }
  return first;
}

const KernelConstants* CalibratedCosts::constants_for(const Operator& op,
                                                      const Device& device) const {
  return find(device, op.family, op.stored, op.compute, {.op = &op});
}

const KernelConstants* CalibratedCosts::constants_for(const ExpertFfn& ffn,
                                                      const Device& device) const {
  return find(device, KernelFamily::kExpertFfn, ffn.stored, ffn.compute, {.experts = &ffn});
}

KernelCost CalibratedCosts::cost(const Operator& op, const Device& device, int sms) const {
  const KernelConstants* constants = constants_for(op, device);
  if (constants == nullptr) return roofline_.cost(op, device, sms);
  return priced(*constants, {.op = &op}, rates_for(device, constants->format.multiplied, sms));
}

KernelCost CalibratedCosts::cost(const ExpertFfn& ffn, const Device& device, int sms) const {
  const KernelConstants* constants = constants_for(ffn, device);
  if (constants == nullptr) return roofline_.cost(ffn, device, sms);
  return priced(*constants, {.experts = &ffn},
                rates_for(device, constants->format.multiplied, sms));
}

}  // namespace sim
