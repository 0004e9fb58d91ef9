// Attention in its four kinds by one shape: prefill and decode, grouped-query and latent (MLA).
// T is float or double.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "models/microbench/kernel_case.h"

namespace sim::reference {

// q[sequences][queries][heads][head_dim], out[sequences][queries][heads][value_dim]. Of sequence s,
// position c, key head j: key at (s * context + c) * key_step + j * head_dim, value at the same
// with value_step and value_dim. Query head h reads key head h / (heads / kv_heads).
struct AttentionShape {
  std::int64_t sequences = 0;
  std::int64_t queries = 0;
  std::int64_t context = 0;
  std::int64_t heads = 0;
  std::int64_t kv_heads = 0;
  std::int64_t head_dim = 0;
  std::int64_t value_dim = 0;
  std::int64_t key_step = 0;
  std::int64_t value_step = 0;
  double scale = 1;     // of the scores, before the softmax
  bool causal = false;  // query i sees positions 0..i; REQUIRES then queries == context

  std::int64_t query_size() const { return sequences * queries * heads * head_dim; }
  std::int64_t out_size() const { return sequences * queries * heads * value_dim; }
  std::int64_t key_size() const { return sequences * context * key_step; }
  std::int64_t value_size() const { return sequences * context * value_step; }
  std::int64_t group() const { return heads / kv_heads; }
};

// The shape of a case of attention_prefill, attention_decode, mla_prefill or mla_decode. mla_decode
// is the absorbed form: keys are the cache [kv_rank + rope_dim], values its first kv_rank numbers
// (so the same array is passed as both); its scale is that of the model before absorption, with 128
// + rope_dim numbers per head.
AttentionShape attention_shape(const KernelCase& kernel_case);

// scratch grows to what a call needs, so that repeated calls allocate nothing.
template <class T>
void attention(const AttentionShape& shape, std::span<const T> q, std::span<const T> k,
               std::span<const T> v, std::span<T> out, std::vector<T>& scratch);

template <class T>
struct AttentionGradients {
  std::span<T> dq;
  std::span<T> dk;
  std::span<T> dv;
};
// REQUIRES: keys and values lie in arrays of their own, without gaps.
template <class T>
void attention_backward(const AttentionShape& shape, std::span<const T> q, std::span<const T> k,
                        std::span<const T> v, std::span<const T> out, std::span<const T> dout,
                        const AttentionGradients<T>& gradients, std::vector<T>& scratch);

// One query's output by the definition, written apart from the above so that it can judge it:
// result[value_dim].
void attention_of_one(const AttentionShape& shape, std::span<const float> q,
                      std::span<const float> k, std::span<const float> v, std::int64_t sequence,
                      std::int64_t query, std::int64_t head, std::span<double> result);

}  // namespace sim::reference
