// What a rank of each pipeline stage holds in training: model states, the activations of the
// micro-batches in flight, buffers.
#pragma once

#include <utility>
#include <vector>

#include "models/memory.h"
#include "sim/workloads/training_plan.h"

namespace sim {

// Of a rank of a stage: what it holds all the time, and what one micro-batch keeps from its forward
// to its backward pass in each chunk of the stage.
struct StageMemory {
  std::vector<MemoryItem> always;
  std::vector<std::vector<MemoryItem>> kept;
};
StageMemory stage_memory(const StepSetup& setup, const TrainingWorkload& workload, int stage,
                         int expert_slots, Bytes framework_reserve);

// Named items at the fullest moment of a step, of a rank of `stage`. Every micro-batch in flight
// keeps its activations; experts' rows are those of balanced routing (an estimate: what a run
// routes is not known before it runs).
std::vector<MemoryItem> training_memory(const StepSetup& setup, const TrainingWorkload& workload,
                                        int stage, int expert_slots, Bytes framework_reserve);

// Micro-batches alive per chunk of the stage when their activations (`kept`, of one micro-batch per
// chunk) weigh most: (chunk, count). It follows from the order alone.
std::vector<std::pair<int, int>> fullest_moment(const TrainingWorkload& workload, int stage,
                                                const std::vector<std::vector<MemoryItem>>& kept);

}  // namespace sim
