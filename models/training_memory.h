// What a device holds of a model in training, beside activations: weights, gradients and the
// optimizer's states, sharded by ZeRO's stages.
//
// Per parameter of a device's part (tensor, pipeline and expert parallelism applied), N: ranks that
// hold the same part (dense: dp cp; experts: edp), w g m v: bytes per value of weights, gradients,
// master weights and one moment:
//   stage 0   w + g + m + 2 v
//   stage 1   w + g + (m + 2 v) / N
//   stage 2   w + (g + m + 2 v) / N
//   stage 3   (w + g + m + 2 v) / N, and two layers' weights gathered: one computes, one arrives
// Source: Rajbhandari et al., "ZeRO", SC 2020 (arXiv 1910.02054), figure 1 and section 5. Valid for
// Adam. Ignores: communication buckets, fragments of the allocator, padding of shards beyond whole
// parameters.
#pragma once

#include <cstdint>
#include <vector>

#include "models/memory.h"
#include "models/training_formats.h"

namespace sim {

// Parameters that one device has a part of: counts of values.
struct StageParameters {
  std::int64_t dense = 0;   // all but routed experts
  std::int64_t expert = 0;  // of its expert slots
  // Of these, matrices that are multiplied in a narrower format than the activations'.
  std::int64_t dense_narrow = 0;
  std::int64_t expert_narrow = 0;
  std::int64_t largest_layer = 0;  // dense and experts of the largest one
  // Chunks of a virtual pipeline add up.
  StageParameters& operator+=(const StageParameters& other);
};
// `model` as training_model returns it. REQUIRES: the layers exist.
StageParameters stage_parameters(const MoeModel& model, const WeightShare& share);

struct StateFormats {
  DType weight = DType::kBf16;
  DType gradient = DType::kFp32;
  DType master = DType::kFp32;
  DType moment = DType::kFp32;
  // 8-bit copies of narrow matrices beside `weight`: by rows and by columns (Transformer Engine on
  // Hopper, whose 8-bit products want both operands along their inner dimension).
  int narrow_copies = 2;
};

struct StateSharding {
  int zero = 1;             // 0 to 3
  int dense_replicas = 1;   // dp cp
  int expert_replicas = 1;  // edp
};

// Items "weights: dense", "weights: routed experts", "weights: 8-bit copies", "weights: gathered",
// "gradients: ...", "master weights: ...", "moments: ..."; those of no bytes are left out.
// REQUIRES: a stage of 0 to 3, positive replicas.
std::vector<MemoryItem> model_state_memory(const StageParameters& parameters,
                                           const StateFormats& formats,
                                           const StateSharding& sharding);

}  // namespace sim
