// Tokens to rows in expert order, and back with weights. A block takes a token at a time: its
// hidden vector is read once and written once per choice (permute), or the other way round. hidden
// is a multiple of 8 (16 bytes).
#pragma once

#include "models/microbench/cuda/kernels/quantise.h"

namespace sim::device_code {

constexpr int kPermuteThreads = 128;

struct PermuteArguments {
  const std::int32_t* position;  // [tokens][top_k]: the row of each choice
  int tokens;
  int top_k;
  int hidden;
};

// rows[position] = x[token]
MOE_KERNEL(kPermuteThreads)
permute_rows(PermuteArguments arguments, const Bf16* x, Bf16* rows) {
  const int chunks = arguments.hidden / 8;
  for (std::int64_t token = block_index(); token < arguments.tokens; token += block_count()) {
    const std::int32_t* position = arguments.position + token * arguments.top_k;
    const auto* from = reinterpret_cast<const Bytes16*>(x + token * arguments.hidden);
    for (int chunk = thread_index(); chunk < chunks; chunk += thread_count()) {
      const Bytes16 values = from[chunk];
      for (int slot = 0; slot < arguments.top_k; ++slot) {
        auto* to = reinterpret_cast<Bytes16*>(rows + static_cast<std::int64_t>(position[slot]) *
                                                         arguments.hidden);
        to[chunk] = values;
      }
    }
  }
}

// The same, each 128 values as fp8 with one scale: scales[row][groups_of(hidden)].
MOE_KERNEL(kPermuteThreads)
permute_quantised(PermuteArguments arguments, const Bf16* x, Fp8* rows, float* scales) {
  const int lane = thread_index() % 32;
  const int groups = groups_of(arguments.hidden);
  for (std::int64_t token = block_index(); token < arguments.tokens; token += block_count()) {
    const std::int32_t* position = arguments.position + token * arguments.top_k;
    for (int group = thread_index() / 32; group < groups; group += thread_count() / 32) {
      const QuantisedGroup values =
          quantise_group(x + token * arguments.hidden + group * kScaleGroup,
                         arguments.hidden - group * kScaleGroup);
      for (int slot = 0; slot < arguments.top_k; ++slot) {
        const std::int64_t row = position[slot];
        store_group(rows + row * arguments.hidden, group, arguments.hidden, values);
        if (lane == 0) scales[row * groups + group] = values.scale;
      }
    }
  }
}

// y[token] = sum over its choices of weight * rows[position]; weights null: all are 1 (the gradient
// of permute).
MOE_KERNEL(kPermuteThreads)
unpermute_rows(PermuteArguments arguments, const Bf16* rows, const float* weights, Bf16* y) {
  const int chunks = arguments.hidden / 8;
  for (std::int64_t token = block_index(); token < arguments.tokens; token += block_count()) {
    const std::int32_t* position = arguments.position + token * arguments.top_k;
    for (int chunk = thread_index(); chunk < chunks; chunk += thread_count()) {
      float sum[8] = {};
      for (int slot = 0; slot < arguments.top_k; ++slot) {
        const float weight = weights == nullptr ? 1.0F : weights[token * arguments.top_k + slot];
        float values[8];
        load_8(rows + static_cast<std::int64_t>(position[slot]) * arguments.hidden + chunk * 8,
               values);
        MOE_UNROLL
        for (int i = 0; i < 8; ++i) sum[i] += weight * values[i];
      }
      store_8(y + token * arguments.hidden + chunk * 8, sum);
    }
  }
}

// drows[position] = weight * dy[token]; dweights = dy[token] . rows[position]
MOE_KERNEL(kPermuteThreads)
unpermute_rows_backward(PermuteArguments arguments, const Bf16* rows, const float* weights,
                        const Bf16* dy, Bf16* drows, float* dweights) {
  auto* scratch = reinterpret_cast<float*>(shared_memory());  // 32 floats
  const int chunks = arguments.hidden / 8;
  for (std::int64_t token = block_index(); token < arguments.tokens; token += block_count()) {
    for (int slot = 0; slot < arguments.top_k; ++slot) {
      const std::int64_t at = token * arguments.top_k + slot;
      const std::int64_t row = static_cast<std::int64_t>(arguments.position[at]) * arguments.hidden;
      const float weight = weights[at];
      float product = 0;
      for (int chunk = thread_index(); chunk < chunks; chunk += thread_count()) {
        float gradients[8];
        float values[8];
        load_8(dy + token * arguments.hidden + chunk * 8, gradients);
        load_8(rows + row + chunk * 8, values);
        MOE_UNROLL
        for (int i = 0; i < 8; ++i) {
          product += gradients[i] * values[i];
          gradients[i] *= weight;
        }
        store_8(drows + row + chunk * 8, gradients);
      }
      product = block_sum(product, scratch);
      if (thread_index() == 0) dweights[at] = product;
    }
  }
}

}  // namespace sim::device_code
