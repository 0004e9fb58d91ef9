// On whose word the kernels of a kind rest, as a few words per slice of a timeline.
#pragma once

#include <map>
#include <string>
#include <utility>

#include "sim/core/observer.h"
#include "sim/workloads/block_costs.h"
#include "sim/workloads/step_plan.h"

namespace sim {

class KernelLabels {
 public:
  // Keeps references.
  KernelLabels(const CostLedger& ledger, const StepSetup& setup);

  // "fitted", or "assumed + fitted" where kernels of this kind differ; "" for what has no label.
  std::string of(const TaskTag& tag, DeviceId device);

 private:
  const CostLedger& ledger_;
  const StepSetup& setup_;
  std::size_t known_lines_ = 0;
  std::map<std::pair<int, std::string>, std::string> labels_;  // by (kind, device type)
};

}  // namespace sim
