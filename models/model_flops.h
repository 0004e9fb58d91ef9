// Flops per token as papers count them for "model FLOPS" and MFU.
//
// Three times the forward pass (backward: two products for each) of
//   matrices:   2 flops per parameter of every matrix that a token is multiplied with: projections,
//               router, chosen and shared experts, LM head; not the embedding's look-up, norms,
//               biases
//   attention:  2 flops per multiply-add of the core over the pairs that the causal mask and
//   windows
//               leave, sequence (sequence + 1) / 2 of a full layer; the recurrence of linear layers
// Recomputation, optimizer, padding and dropped tokens do not count: all tokens reach all their
// experts. So do Megatron-Core and Megatron-Bridge count; PaLM (Chowdhery et al., arXiv 2204.02311,
// appendix B) and older papers take the square of the sequence instead of half of it, which `full`
// answers, and ignore windows.
#pragma once

#include <cstdint>

#include "models/moe_model.h"
#include "models/operators.h"

namespace sim {

enum class AttentionCount { kCausal, kFull };

// Forward pass, per token, of one device that runs the whole model.
struct TokenFlops {
  double matrices = 0;
  double attention = 0;
  double forward() const { return matrices + attention; }
  double training() const { return 3 * forward(); }
};

// REQUIRES: sequence_length > 0. An encoder's layers count with as many tokens.
TokenFlops token_flops(const MoeModel& model, std::int64_t sequence_length,
                       AttentionCount count = AttentionCount::kCausal);

// The batch of one whole sequence in a training forward pass, every row of it to the LM head.
TokenBatch one_sequence(std::int64_t tokens);

// Of training: forward and backward.
double model_flops_per_token(const MoeModel& model, std::int64_t sequence_length);

}  // namespace sim
