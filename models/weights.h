// Every weight tensor of a model, in one list that counts, bytes and memory are summed from.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "models/moe_model.h"

namespace sim {

enum class WeightItem { kEmbedding, kHead, kAttention, kDense, kRouter, kExperts, kShared, kNorms };
std::string_view to_text(WeightItem item);

// How tensor parallelism splits a tensor: by output (rows), by input (columns), or not at all.
enum class Split { kNone, kRows, kColumns };

// `copies` tensors of rows (outputs) x columns (inputs). Those with one row are vectors (norms,
// biases) and are stored in the activations' format.
struct Weight {
  std::string_view name;
  WeightItem item = WeightItem::kNorms;
  std::int64_t rows = 1;
  std::int64_t columns = 1;
  Split split = Split::kNone;
  std::int64_t unit = 1;    // rows or columns are split in whole units: a head
  std::int64_t copies = 1;  // experts
  std::int64_t active = 1;  // of these, how many one token uses
};

// REQUIRES of all: a sound model (model_mistakes is empty).
std::vector<Weight> block_weights(const MoeModel& model, BlockId block);
std::vector<Weight> input_weights(const MoeModel& model);   // embedding
std::vector<Weight> output_weights(const MoeModel& model);  // final norms, LM head unless tied

// Bytes on one of `tp` ranks, scales included, of all copies. REQUIRES: tp > 0.
Bytes bytes_of(const MoeModel& model, const Weight& weight, int tp);

// Values on one of `tp` ranks, of all copies. REQUIRES: tp > 0.
std::int64_t values_of(const Weight& weight, int tp);

struct ParameterCount {
  std::int64_t embedding = 0;
  std::int64_t head = 0;  // 0 when tied
  std::int64_t attention = 0;
  std::int64_t dense = 0;
  std::int64_t router = 0;
  std::int64_t experts = 0;
  std::int64_t shared = 0;
  std::int64_t norms = 0;
  std::int64_t& of(WeightItem item);
  std::int64_t total() const;
};

ParameterCount parameter_count(const MoeModel& model);
// What one token uses: top-k of the routed experts, everything else whole. The embedding table is
// counted whole, though a token reads one row; publishers differ, so subtract what they leave out.
ParameterCount active_parameter_count(const MoeModel& model);

// One routed expert of a block, scales included, split over `etp` ranks. REQUIRES: the block is a
// routed FFN.
Bytes expert_bytes(const MoeModel& model, BlockId block, int etp);

}  // namespace sim
