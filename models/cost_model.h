// A kernel on a device -> how long, and on whose word.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "models/cost_label.h"
#include "models/device.h"
#include "models/operators.h"
#include "sim/core/units.h"

namespace sim {

struct KernelCost {
  Duration time{};
  Duration fixed{};    // launch and what does not depend on the size
  Duration compute{};  // what the flops alone would take
  Duration memory{};   // what the bytes alone would take
  CostLabel label = CostLabel::kRoofline;
  std::string_view source;  // outlives the cost model's catalog
  bool in_range = true;     // inside the calibrated range
};

// REQUIRES of both: 0 < sms <= device.sms. Pure: the same arguments give the same answer.
class CostModel {
 public:
  virtual ~CostModel() = default;
  virtual KernelCost cost(const Operator& op, const Device& device, int sms) const = 0;
  virtual KernelCost cost(const ExpertFfn& ffn, const Device& device, int sms) const = 0;
  // Operators by name (models/operators.cpp) whose time that of the experts holds already.
  virtual std::span<const std::string> covered(const ExpertFfn&, const Device&) const { return {}; }
};

}  // namespace sim
