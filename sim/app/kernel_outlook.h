// Whose word the kernels of a scenario will rest on, before it runs.
#pragma once

#include <string>
#include <vector>

#include "models/cost_label.h"
#include "sim/app/scenario.h"

namespace sim {

// Kernels of one family by one source, in the first step of rank 0 with balanced experts.
struct KernelOutlook {
  std::string kernel;  // the family
  std::string source;  // "roofline" where there are no constants
  CostLabel label = CostLabel::kRoofline;
  Duration time{};
  Duration outside{};                      // of it, outside the calibrated range
  std::vector<std::string> outside_names;  // operators
};

// Longest first.
std::vector<KernelOutlook> kernel_outlook(const Scenario& scenario);

}  // namespace sim
