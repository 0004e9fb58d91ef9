// RMS norm: y = x / sqrt(mean(x^2) + epsilon) * weight. A block takes a row at a time; hidden is a
// multiple of 8.
#pragma once

#include "models/microbench/cuda/device_code.h"

namespace sim::device_code {

constexpr int kNormThreads = 256;

MOE_DEVICE float inverse_root(float x) { return 1.0F / sqrtf(x); }

MOE_KERNEL(kNormThreads)
rms_norm(const Bf16* x, const Bf16* weight, Bf16* y, int rows, int hidden, float epsilon) {
  auto* scratch = reinterpret_cast<float*>(shared_memory());  // 32 floats
  for (std::int64_t row = block_index(); row < rows; row += block_count()) {
    float squares = 0;
    for (int at = thread_index() * 8; at < hidden; at += thread_count() * 8) {
      float values[8];
      load_8(x + row * hidden + at, values);
      MOE_UNROLL
      for (int i = 0; i < 8; ++i) squares += values[i] * values[i];
    }
    const float inverse =
        inverse_root(block_sum(squares, scratch) / static_cast<float>(hidden) + epsilon);
    for (int at = thread_index() * 8; at < hidden; at += thread_count() * 8) {
      float values[8];
      float factors[8];
      load_8(x + row * hidden + at, values);
      load_8(weight + at, factors);
      MOE_UNROLL
      for (int i = 0; i < 8; ++i) values[i] *= inverse * factors[i];
      store_8(y + row * hidden + at, values);
    }
  }
}

inline std::size_t norm_backward_shared_bytes(int hidden) {
  return (32 + static_cast<std::size_t>(hidden)) * sizeof(float);
}

// With h = weight * dy and r = 1 / rms: dx = r h - x r^3 mean(h x). Each block sums its rows' part
// of dweight = sum over rows of dy x r into partial[block][hidden]; a thread always keeps the same
// columns.
MOE_KERNEL(kNormThreads)
rms_norm_backward(const Bf16* x, const Bf16* weight, const Bf16* dy, Bf16* dx, float* partial,
                  int rows, int hidden, float epsilon) {
  auto* scratch = reinterpret_cast<float*>(shared_memory());
  float* dweight = scratch + 32;
  for (int at = thread_index() * 8; at < hidden; at += thread_count() * 8)
    for (int i = 0; i < 8; ++i) dweight[at + i] = 0;
  const float count = static_cast<float>(hidden);
  for (std::int64_t row = block_index(); row < rows; row += block_count()) {
    float squares = 0;
    float products = 0;
    for (int at = thread_index() * 8; at < hidden; at += thread_count() * 8) {
      float values[8];
      float factors[8];
      float gradients[8];
      load_8(x + row * hidden + at, values);
      load_8(weight + at, factors);
      load_8(dy + row * hidden + at, gradients);
      MOE_UNROLL
      for (int i = 0; i < 8; ++i) {
        squares += values[i] * values[i];
        products += values[i] * factors[i] * gradients[i];
      }
    }
    const float inverse = inverse_root(block_sum(squares, scratch) / count + epsilon);
    const float pull = block_sum(products, scratch) / count * inverse * inverse * inverse;
    for (int at = thread_index() * 8; at < hidden; at += thread_count() * 8) {
      float values[8];
      float factors[8];
      float gradients[8];
      load_8(x + row * hidden + at, values);
      load_8(weight + at, factors);
      load_8(dy + row * hidden + at, gradients);
      MOE_UNROLL
      for (int i = 0; i < 8; ++i) {
        dweight[at + i] += gradients[i] * values[i] * inverse;
        values[i] = inverse * factors[i] * gradients[i] - values[i] * pull;
      }
      store_8(dx + row * hidden + at, values);
    }
  }
  for (int at = thread_index() * 8; at < hidden; at += thread_count() * 8)
    for (int i = 0; i < 8; ++i)
      partial[static_cast<std::int64_t>(block_index()) * hidden + at + i] = dweight[at + i];
}

// dweight[hidden] = sum over blocks of partial[block][hidden], in the order of the blocks.
MOE_KERNEL(kNormThreads)
sum_partial(const float* partial, float* dweight, int blocks, int hidden) {
  const int step = block_count() * thread_count();
  for (int column = block_index() * thread_count() + thread_index(); column < hidden;
       column += step) {
    float sum = 0;
    for (int block = 0; block < blocks; ++block)
      sum += partial[static_cast<std::int64_t>(block) * hidden + column];
    dweight[column] = sum;
  }
}

}  // namespace sim::device_code
