// The cost model of a run: each call by the device's calibrated constants for its family and
// format, and by the roofline where there are none.
//
// Which constants: of the device's entries for the family and the format, the one whose source the
// user named, else the first. A source may have several entries, one per head size or operator: the
// first whose range holds the call, else its first. A format without constants of its own (a device
// that multiplies fp8 on bf16 cores) takes those of what the device multiplies instead.
#pragma once

#include <map>
#include <string>

#include "models/cost_model.h"
#include "models/roofline.h"

namespace sim {

// A source for a family ("expert_ffn" -> "deepgemm"); families that are absent take the first.
using KernelSources = std::map<KernelFamily, std::string>;

class CalibratedCosts : public CostModel {
 public:
  explicit CalibratedCosts(KernelSources sources = {}) : sources_(std::move(sources)) {}

  KernelCost cost(const Operator& op, const Device& device, int sms) const override;
  KernelCost cost(const ExpertFfn& ffn, const Device& device, int sms) const override;

  // Null: none, so the roofline answers.
  const KernelConstants* constants_for(const Operator& op, const Device& device) const;
  const KernelConstants* constants_for(const ExpertFfn& ffn, const Device& device) const;

 private:
  const KernelConstants* find(const Device& device, KernelFamily family, DType stored,
                              DType multiplied, const KernelCall& call) const;

  KernelSources sources_;
  Roofline roofline_;
};

// What the device gives to a kernel on `sms` of its SMs, in `multiplied`.
DeviceRates rates_for(const Device& device, DType multiplied, int sms);

}  // namespace sim
