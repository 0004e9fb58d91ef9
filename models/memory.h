// What a model takes of a device's memory, as named items that a workload adds up.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/moe_model.h"
#include "sim/core/units.h"

namespace sim {

struct MemoryItem {
  std::string name;
  Bytes bytes;
};

// The part of a model that one device holds.
struct WeightShare {
  int tp = 1;  // attention and dense FFN are split over so many
  int own_tp =
      1;        // embedding, head and shared experts: 1 when every rank runs them on its own tokens
  int etp = 1;  // each routed expert is split over so many
  int expert_slots = 0;  // routed experts per routed block on this device, replicas included
  int first_layer = 0;   // layers [first_layer, end_layer) of a pipeline stage
  int end_layer = 0;
  bool embedding = true;  // on this stage; with tied embeddings the head's table is this one
  bool head = true;
};
// Everything on `ep` x `tp` ranks without a pipeline: ceil(experts / ep) slots.
WeightShare whole_model(const MoeModel& model, int tp, int ep, int redundant_experts = 0);

// One item per kind of weight ("weights: attention", ...) in its storage format, scales included;
// items of no bytes are left out. REQUIRES: the layers exist.
std::vector<MemoryItem> weight_memory(const MoeModel& model, const WeightShare& share);

// Key-value cache of sequences with `contexts` tokens each, and their recurrent states. A sliding
// window keeps its last tokens only, a chunk its own. Tensor parallelism splits key-value heads (at
// least one each); MLA's latent cache is whole on every rank.
std::vector<MemoryItem> kv_memory(const MoeModel& model, std::span<const std::int64_t> contexts,
                                  int tp, int first_layer, int end_layer);

// The largest set of activations alive at once in inference with `tokens` on this device: residual
// and hidden rows, the widest pair of neighbours inside a block, logits of `logit_rows`. An
// estimate (assumed): allocators differ.
std::vector<MemoryItem> activation_memory(const MoeModel& model, std::int64_t tokens,
                                          std::int64_t logit_rows, int tp);

Bytes total(std::span<const MemoryItem> items);

}  // namespace sim
