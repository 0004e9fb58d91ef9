// The experts of a layer, and the whole routed layer, as steps of a case.
#pragma once

#include "models/microbench/cuda/cases/product_step.h"

namespace sim::device_code {

// Gate and up product, SwiGLU, (fp8: quantise,) down product. Returns [rows][hidden].
Array<Bf16>& add_expert_ffn(PreparedCase& prepared, const RowOffsets& offsets, std::int64_t hidden,
                            std::int64_t inter, const Matrix& x);
// Gradients of the input and of both weights, from what the forward pass kept.
void add_expert_ffn_backward(PreparedCase& prepared, const RowOffsets& offsets, std::int64_t hidden,
                             std::int64_t inter);
// Norm, router product, gate, expert order, permute, experts, un-permute. The gate reads logits of
// the case's own, not the router's, so that the experts get the rows that the case asks for.
void add_moe_layer(PreparedCase& prepared, const KernelCase& what);

}  // namespace sim::device_code
