// Is a skewed batch cheaper or dearer than a balanced one, and does the prediction say the same?
#pragma once

#include <span>
#include <vector>

#include "models/calibration/measured_kernel.h"
#include "models/costs/cost_form.h"
#include "sim/app/accuracy_experts.h"

namespace sim {

// Of the rows of one kernel: DeepSeek-V3's and Qwen3-30B's experts on up to 64 ranks (behind a
// dispatch 256), every power law beside the balanced row of the same launch and tokens. One count
// per table and model.
void add_skews(std::span<const MeasuredKernel* const> rows, const DeviceRates& rates,
               std::span<const double> values, std::vector<SkewCount>& counts);

}  // namespace sim
