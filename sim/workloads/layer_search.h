// Chooses what a layer schedule leaves open, by running the engine: the number of chunks forward
// and backward, and how much of the gradients fits into idle windows.
#pragma once

#include <optional>

#include "sim/workloads/layer_operations.h"

namespace sim {

inline constexpr int kMostDegree = 32;  // chunks that a search tries

struct PlannedLayers {
  int forward_degree = 1;
  int backward_degree = 1;
  LayerSchedule schedule;
  LayersRun run;
};

// The fastest schedule of the policy, or the one of the given degree in both passes. Windows are
// what the link between nodes idles in the backward pass when no gradient is on it.
PlannedLayers plan_layers(const LayerPolicy& policy, const LayerOperations& operations, int layers,
                          std::optional<int> degree);

}  // namespace sim
