// Layers whose operations have given linear costs, run by a layer schedule: three resources
// (compute, links between nodes, links inside a node), one rank standing for all.
#pragma once

#include <vector>

#include "sim/core/observer.h"
#include "sim/policies/schedules/layer_schedule.h"

namespace sim {

// Time of an operation cut into r chunks: start_s + work_s / r per chunk. Seconds.
struct OperationCost {
  double start_s = 0;
  double work_s = 0;
  double whole_s() const { return start_s + work_s; }
};

// Of one layer, per LayerOperation. The gradient's is that of the whole reduction of a layer.
struct LayerOperations {
  std::array<OperationCost, kLayerOperationNames.size()> forward{};
  std::array<OperationCost, kLayerOperationNames.size()> backward{};
  int gradient_pieces = 1;  // of 30 MB at most, that one layer's gradient makes (Lina)
  const OperationCost& of(LayerOperation operation, bool backward_pass) const {
    const auto index = static_cast<std::size_t>(operation);
    return backward_pass ? backward[index] : forward[index];
  }
};

struct LayersRun {
  Duration forward{};
  Duration total{};      // all layers forward, then backward, then what is left of the gradients
  Duration compute{};    // of the compute stream: attention, routing, order, experts
  CauseVector causes{};  // of the critical path, by Cause; they add up to the total
  std::vector<TaskSpan> spans;  // if asked for
};

// Runs all layers of the schedule on the engine. Throws Error where a time is not finite.
LayersRun run_layers(const LayerOperations& operations, const LayerSchedule& schedule,
                     bool keep_spans = false);

}  // namespace sim
