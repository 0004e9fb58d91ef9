// What a training step is made of, before it becomes tasks.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "models/operators.h"
#include "models/recompute.h"
#include "models/training_memory.h"
#include "sim/policies/schedules/pipeline_schedule.h"
#include "sim/workloads/step_plan.h"

namespace sim {

struct GradientSpec {
  Bytes bucket;         // least bytes of one reduction; layers are gathered until they reach it
  bool overlap = true;  // a bucket is reduced as soon as its last gradient is there
};

struct TrainingWorkload {
  std::int64_t sequence_length = 0;
  int micro_batch = 1;    // sequences of a micro-batch, per attention replica
  int micro_batches = 1;  // of a step, per attention replica
  int steps = 1;
  int routing_step_offset = 0;  // the routing source's step of the first micro-batch
  int zero = 1;                 // ZeRO stage, 0 to 3
  Recompute recompute;
  GradientSpec gradients;
  bool overlap_gathers = true;  // sharded parameters come while the first micro-batch runs
  StateFormats formats;         // of weights, gradients and the optimizer's states
  PipelineSchedule schedule;
  std::vector<std::pair<int, int>> parts;  // layers [first, end) of each part of the model

  std::int64_t sequences(const ParallelLayout& layout) const {  // of a step: the global batch
    return static_cast<std::int64_t>(micro_batch) * micro_batches * layout.dp;
  }
};

// What a rank of a stage holds of layers [first, end).
WeightShare stage_share(const StepSetup& setup, int first, int end, bool embedding, bool head);

// Layers over the parts of a pipeline as evenly as they can be; the first parts get one more.
// REQUIRES: 0 < parts <= layers.
std::vector<std::pair<int, int>> spread_layers(int layers, int parts);

// Tokens of one micro-batch that a rank brings to routed blocks: those of its sequences, split over
// context and tensor parallelism (sequence parallelism). REQUIRES: they divide.
std::int64_t tokens_per_rank(const TrainingWorkload& workload, const ParallelLayout& layout);
// The batch of a rank's TP group, which attention and dense blocks run, and the rank's own, which
// the rest of a routed block runs. Context parallelism splits a sequence so that every rank has as
// many (query, key) pairs (Megatron-Core's two chunks per rank); keys of the whole sequence are
// read.
TokenBatch group_batch(const TrainingWorkload& workload, const ParallelLayout& layout);
TokenBatch rank_batch(const TrainingWorkload& workload, const ParallelLayout& layout);

}  // namespace sim
