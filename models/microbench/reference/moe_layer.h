// A whole routed layer: y = sum over a token's experts of weight * FFN(norm(x)). Without the
// residual, shared experts and communication. T is float or double.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/microbench/reference/expert_ffn.h"
#include "models/microbench/reference/routing.h"

namespace sim::reference {

struct LayerShape {
  std::int64_t tokens = 0;
  std::int64_t hidden = 0;
  std::int64_t inter = 0;
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
};

template <class T>
struct LayerWeights {
  std::span<const T> norm;    // [hidden]
  std::span<const T> router;  // [experts][hidden]
  FfnWeights<T> experts;
};

// What the layer keeps between its kernels; every array is written before it is read.
template <class T>
struct LayerBuffers {
  std::span<T> normed;   // [tokens][hidden]
  std::span<T> logits;   // [tokens][experts]
  std::span<T> weights;  // [tokens][top_k]
  std::span<T> rows;     // [tokens * top_k][hidden]
  FfnActivations<T> activations;
  std::span<T> results;  // [tokens * top_k][hidden]
};

// choices[tokens][top_k] and order are results as well: they hold the rows of each expert.
template <class T>
void moe_layer(const LayerShape& shape, std::span<const T> x, const LayerWeights<T>& weights,
               const LayerBuffers<T>& buffers, std::span<std::int32_t> choices, ExpertOrder& order,
               std::span<T> y);

}  // namespace sim::reference
