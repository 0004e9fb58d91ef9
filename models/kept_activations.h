// Activations that a device keeps of one micro-batch from its forward to its backward pass.
//
// Every tensor that a backward kernel reads (backward.h), once, in the format in which it is read:
// the input of each norm, each GEMM (8-bit where it is multiplied so), the attention core (queries,
// keys, values, output, and one fp32 sum per query and head), each activation, the router's fp32
// scores. A row that two kernels read is kept once. FlashAttention keeps no scores; there is no
// dropout. With tensor parallelism, sequence parallelism is assumed: what lies outside the split
// matrices is split over tokens (Korthikanti et al., "Reducing Activation Recomputation in Large
// Transformer Models", MLSys 2023, arXiv 2205.05198, table 2: s b h (34 + 5 a s / h) / t for a
// layer of GPT; here 32, for two bytes are dropout masks, and no 5 a s / h).
//
// Assumed, no source: chunked linear attention keeps a 64 x 64 triangle per head and chunk; a
// selective scan keeps its inputs and makes its states again.
#pragma once

#include <cstdint>
#include <vector>

#include "models/memory.h"
#include "models/recompute.h"

namespace sim {

// Tokens of one micro-batch in a tensor-parallel group, after context parallelism has split them.
struct KeptBatch {
  std::int64_t tokens = 0;
  int tp = 1;
  int own_tp = 1;  // of shared experts: 1 when every rank runs them on its own tokens
};

// One layer without its routed rows. `model` as training_model returns it. Items "activations:
// norms", "... attention", "... dense_ffn", "... router", "... shared_experts"; "... layer inputs"
// where everything is recomputed. Those of no bytes are left out. REQUIRES: the layer exists; tp >
// 0; tokens are not negative.
std::vector<MemoryItem> kept_activations(const MoeModel& model, int layer, const KeptBatch& batch,
                                         const Recompute& recompute);

// Bytes per row that arrived at a rank, for one routed block: the row, what enters the activation,
// and what leaves it. Without capacity or balance a rank keeps as many as it received. REQUIRES:
// the block is an FFN with routing; etp > 0.
double kept_bytes_per_row(const MoeModel& model, BlockId block, int etp,
                          const Recompute& recompute);

// Of the last stage: the final norm's input and output, and the logits, whose place the gradient
// takes.
std::vector<MemoryItem> kept_output_activations(const MoeModel& model, const KeptBatch& batch);

// While a layer's backward runs, what was not kept of it is there again: the largest such amount
// over layers [first_layer, end_layer), with `rows` routed rows per routed block.
Bytes recomputed_at_once(const MoeModel& model, int first_layer, int end_layer,
                         const KeptBatch& batch, double rows, int etp, const Recompute& recompute);

}  // namespace sim
