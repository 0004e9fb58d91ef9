// The `kernels` of a scenario: which law prices them, and whose constants.
#pragma once

#include <map>
#include <string>

#include "models/costs/calibrated_costs.h"
#include "models/device.h"
#include "models/moe_model.h"
#include "sim/input/yaml_reader.h"

namespace sim {

struct KernelChoice {
  bool calibrated = true;  // else the roofline prices everything
  KernelSources sources;
};

// `kernels: {use: calibrated, expert_ffn: deepgemm}`. A source that no device of the cluster has
// for a format of the model is a mistake with what there is. `model` null: not known, nothing is
// checked against it.
KernelChoice read_kernel_choice(YamlMap& root, const MoeModel* model,
                                const std::map<std::string, Device>& devices, Mistakes& mistakes);

}  // namespace sim
