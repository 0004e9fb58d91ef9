// The cost model of a run: each call by the device's calibrated constants for its family and
// format, and by the roofline where there are none.
//
// Which constants: of the device's entries for the family and the format, the source that the user
// named, else that of the first entry. A source may have several entries (one per head size of an
// attention kernel): the one whose calibrated range holds the call, else the nearest to it.
//
// In a model a kernel is never faster than its flops and bytes at the data sheet's peaks: a loop
// that measures a small kernel finds its weights in the L2, where other layers have evicted them in
// a model. Such a call is priced, and labelled, by the peaks.
//
// Backward kernels: a dense GEMM's gradients are GEMMs and priced as such; all others take the
// forward kernel's constants (backward_costs.h) and are `assumed`: no table measures them.
#pragma once

#include <map>
#include <span>
#include <string>

#include "models/cost_model.h"
#include "models/roofline.h"

namespace sim {

// A source for a family ("expert_ffn" -> "deepgemm"); families that are absent take the first.
using KernelSources = std::map<KernelFamily, std::string>;

// What is looked for among a device's constants.
struct KernelWish {
  KernelFamily family = KernelFamily::kStreaming;
  KernelFormat format;
  bool exact_scales = false;            // "fp8" is not "fp8_block"
  const std::string* op = nullptr;      // an operator's name
  const std::string* source = nullptr;  // null: the first that fits
};

// Null: none. Pure and cheap: called once per kernel.
const KernelConstants* choose_constants(const Device& device, const KernelWish& wish,
                                        const KernelCall& call);

// A call by these constants on `sms` SMs of the device, as it was measured alone.
KernelCost calibrated_cost(const KernelConstants& constants, const KernelCall& call,
                           const Device& device, int sms);

class CalibratedCosts : public CostModel {
 public:
  explicit CalibratedCosts(KernelSources sources = {}) : sources_(std::move(sources)) {}

  KernelCost cost(const Operator& op, const Device& device, int sms) const override;
  KernelCost cost(const ExpertFfn& ffn, const Device& device, int sms) const override;
  std::span<const std::string> covered(const ExpertFfn& ffn, const Device& device) const override;

  // Null: none, so the roofline answers.
  const KernelConstants* constants_for(const Operator& op, const Device& device) const;
  const KernelConstants* constants_for(const ExpertFfn& ffn, const Device& device) const;

 private:
  const KernelConstants* find(const Device& device, KernelWish wish, const KernelCall& call) const;

  KernelSources sources_;
  Roofline roofline_;
};

// What the device gives to a kernel on `sms` of its SMs, in `multiplied`.
DeviceRates rates_for(const Device& device, DType multiplied, int sms);

}  // namespace sim
