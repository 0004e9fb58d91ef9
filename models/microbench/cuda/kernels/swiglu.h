// SwiGLU: in[rows][2 inter] holds gate then up; out[rows][inter] = gate * sigmoid(gate) * up.
// inter is a multiple of 8.
#pragma once

#include "models/microbench/cuda/kernels/top_k.h"

namespace sim::device_code {

constexpr int kSwigluThreads = 256;

// Calls visit(offset of gate, of up, of out) for this thread's share of chunks of 8 values.
template <typename Visit>
MOE_DEVICE void for_each_gated_chunk(std::int64_t rows, int inter, Visit visit) {
  const int per_row = inter / 8;
  const std::int64_t step = static_cast<std::int64_t>(block_count()) * thread_count();
  for (std::int64_t i = static_cast<std::int64_t>(block_index()) * thread_count() + thread_index();
       i < rows * per_row; i += step) {
    const std::int64_t row = i / per_row;
    const std::int64_t column = (i % per_row) * 8;
    visit(row * 2 * inter + column, row * 2 * inter + inter + column, row * inter + column);
  }
}

MOE_KERNEL(kSwigluThreads)
swiglu(const Bf16* in, Bf16* out, std::int64_t rows, int inter) {
  for_each_gated_chunk(rows, inter,
                       [&](std::int64_t gate_at, std::int64_t up_at, std::int64_t out_at) {
                         float gate[8];
                         float up[8];
                         load_8(in + gate_at, gate);
                         load_8(in + up_at, up);
                         MOE_UNROLL
                         for (int i = 0; i < 8; ++i) gate[i] *= sigmoid(gate[i]) * up[i];
                         store_8(out + out_at, gate);
                       });
}

// din from dout and the forward's input: d(gate) = dout up s (1 + gate (1 - s)), d(up) = dout gate
// s.
MOE_KERNEL(kSwigluThreads)
swiglu_backward(const Bf16* in, const Bf16* dout, Bf16* din, std::int64_t rows, int inter) {
  for_each_gated_chunk(rows, inter,
                       [&](std::int64_t gate_at, std::int64_t up_at, std::int64_t out_at) {
                         float gate[8];
                         float up[8];
                         float gradient[8];
                         load_8(in + gate_at, gate);
                         load_8(in + up_at, up);
                         load_8(dout + out_at, gradient);
                         MOE_UNROLL
                         for (int i = 0; i < 8; ++i) {
                           const float s = sigmoid(gate[i]);
                           const float dup = gradient[i] * gate[i] * s;
                           gate[i] = gradient[i] * up[i] * s * (1.0F + gate[i] * (1.0F - s));
                           up[i] = dup;
                         }
                         store_8(din + gate_at, gate);
                         store_8(din + up_at, up);
                       });
}

}  // namespace sim::device_code
