// The number formats that a model is trained in, whatever its published weights are stored in.
#pragma once

#include <optional>
#include <string_view>

#include "models/moe_model.h"

namespace sim {

// bf16: everything. fp8: DeepSeek-V3's recipe (arXiv 2412.19437, section 3.3), and Megatron-Core's
// with Transformer Engine: projections, dense and expert FFNs are multiplied in fp8 in all three
// passes, from 8-bit copies of the weights made once per step; embedding, LM head, router, norms
// and the attention core stay in bf16.
enum class TrainingPrecision { kBf16, kFp8 };
std::string_view to_text(TrainingPrecision precision);  // "bf16", "fp8"
std::optional<TrainingPrecision> parse_training_precision(std::string_view text);

// The precision that a catalogued model's own formats suggest: fp8 where its experts (or, of a
// dense model, its FFN) are stored in fp8, else bf16.
TrainingPrecision usual_training_precision(const MoeModel& model);

// The model as its training kernels see it: `stored` is what a GEMM reads, 8-bit copies with scales
// per 128 x 128 block under fp8. What a device holds of weights is training_memory.h's.
MoeModel training_model(const MoeModel& model, TrainingPrecision precision);

}  // namespace sim
