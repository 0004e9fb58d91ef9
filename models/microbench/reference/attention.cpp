#include "models/microbench/reference/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "models/microbench/reference/array_size.h"
#include "models/microbench/reference/matrix.h"

namespace sim::reference {

namespace {

constexpr std::int64_t kBlock = 64;  // queries whose scores are held at once

// A block of queries that share their keys: in prefill some positions of one head, in decode the
// heads of one key head. Row i of q starts at first + i * step.
struct QueryBlock {
  std::int64_t first = 0;      // of q, in values
  std::int64_t step = 0;       // of q, in values
  std::int64_t out_first = 0;  // of out
  std::int64_t out_step = 0;
  std::int64_t count = 0;
  std::int64_t seen = 0;       // positions that the last of them sees
  std::int64_t seen_less = 0;  // 1: each one before sees one position less (causal)
  std::int64_t key = 0;        // where its keys begin
  std::int64_t value = 0;
};

template <class Visit>
void each_block(const AttentionShape& s, Visit visit) {
  for (std::int64_t b = 0; b < s.sequences; ++b) {
    for (std::int64_t j = 0; j < s.kv_heads; ++j) {
      QueryBlock block;
      block.key = b * s.context * s.key_step + j * s.head_dim;
      block.value = b * s.context * s.value_step + j * s.value_dim;
      if (!s.causal) {
        for (std::int64_t t = 0; t < s.queries; ++t) {
          const std::int64_t head = (b * s.queries + t) * s.heads + j * s.group();
          block.first = head * s.head_dim;
          block.step = s.head_dim;
          block.out_first = head * s.value_dim;
          block.out_step = s.value_dim;
          block.count = s.group();
          block.seen = s.context;
          visit(block);
        }
        continue;
      }
      for (std::int64_t g = 0; g < s.group(); ++g) {
        for (std::int64_t t = 0; t < s.queries; t += kBlock) {
          const std::int64_t head = (b * s.queries + t) * s.heads + j * s.group() + g;
          block.first = head * s.head_dim;
          block.step = s.heads * s.head_dim;
          block.out_first = head * s.value_dim;
          block.out_step = s.heads * s.value_dim;
          block.count = std::min(kBlock, s.queries - t);
          block.seen = t + block.count;
          block.seen_less = 1;
          visit(block);
        }
      }
    }
  }
}

// scores[count][seen]: probabilities of a block, zero where a query does not see.
template <class T>
void probabilities(const AttentionShape& s, const QueryBlock& block, const T* q, const T* k,
                   T* scores) {
  multiply(Turn::kNo, Turn::kYes, block.count, block.seen, s.head_dim, static_cast<T>(s.scale),
           q + block.first, block.step, k + block.key, s.key_step, T(0), scores, block.seen);
  for (std::int64_t i = 0; i < block.count; ++i) {
    T* row = scores + i * block.seen;
    const std::int64_t seen = block.seen - (block.count - 1 - i) * block.seen_less;
    const T most = *std::max_element(row, row + seen);
    T sum = 0;
    for (std::int64_t c = 0; c < seen; ++c) {
      row[c] = std::exp(row[c] - most);
      sum += row[c];
    }
    for (std::int64_t c = 0; c < seen; ++c) row[c] /= sum;
    std::fill(row + seen, row + block.seen, T(0));
  }
}

void check_shape(const AttentionShape& s) {
  SIM_CHECK(s.heads % s.kv_heads == 0, "key heads are shared by equally many heads");
  SIM_CHECK(!s.causal || s.queries == s.context, "causal attention is of whole sequences");
}

template <class T>
void reserve(std::vector<T>& scratch, std::int64_t values) {
  if (scratch.size() < static_cast<std::size_t>(values)) {
    scratch.resize(static_cast<std::size_t>(values));
  }
}

std::int64_t block_scores(const AttentionShape& s) {
  return (s.causal ? kBlock : s.group()) * s.context;
}

}  // namespace

AttentionShape attention_shape(const KernelCase& c) {
  AttentionShape s;
  const bool decode = c.kernel == "attention_decode" || c.kernel == "mla_decode";
  s.sequences = c.size("sequences");
  s.context = decode ? c.size("context") : c.size("tokens");
  s.queries = decode ? 1 : s.context;
  s.causal = !decode;
  s.heads = c.size("heads");
  if (c.kernel == "mla_decode") {
    s.kv_heads = 1;
    s.head_dim = c.size("kv_rank") + c.size("rope_dim");
    s.value_dim = c.size("kv_rank");
    s.key_step = s.value_step = s.head_dim;
    s.scale = 1 / std::sqrt(128.0 + static_cast<double>(c.size("rope_dim")));
    return s;
  }
  s.head_dim = c.size("head_dim");
  s.value_dim = c.size_or("value_dim", s.head_dim);
  s.kv_heads = c.size_or("kv_heads", s.heads);
  s.key_step = s.kv_heads * s.head_dim;
  s.value_step = s.kv_heads * s.value_dim;
  s.scale = 1 / std::sqrt(static_cast<double>(s.head_dim));
  return s;
}

template <class T>
void attention(const AttentionShape& s, std::span<const T> q, std::span<const T> k,
               std::span<const T> v, std::span<T> out, std::vector<T>& scratch) {
  check_shape(s);
  check_sizes({{q.size(), s.query_size()},
               {k.size(), s.key_size()},
               {v.size(), s.value_size()},
               {out.size(), s.out_size()}});
  reserve(scratch, block_scores(s));
  T* scores = scratch.data();
  each_block(s, [&](const QueryBlock& block) {
    probabilities(s, block, q.data(), k.data(), scores);
    multiply(Turn::kNo, Turn::kNo, block.count, s.value_dim, block.seen, T(1), scores, block.seen,
             v.data() + block.value, s.value_step, T(0), out.data() + block.out_first,
             block.out_step);
  });
}

// With P the probabilities: dV = P^T dO, dP = dO V^T, dS = P (dP - rowsum(dO O)), dQ = scale dS K,
// dK = scale dS^T Q; summed over the queries that see a position and the heads of its key head.
template <class T>
void attention_backward(const AttentionShape& s, std::span<const T> q, std::span<const T> k,
                        std::span<const T> v, std::span<const T> out, std::span<const T> dout,
                        const AttentionGradients<T>& gradients, std::vector<T>& scratch) {
  check_shape(s);
  check_sizes({{q.size(), s.query_size()},
               {k.size(), s.key_size()},
               {v.size(), s.value_size()},
               {out.size(), s.out_size()},
               {dout.size(), s.out_size()},
               {gradients.dq.size(), s.query_size()},
               {gradients.dk.size(), s.key_size()},
               {gradients.dv.size(), s.value_size()}});
  reserve(scratch, 2 * block_scores(s));
  std::fill(gradients.dk.begin(), gradients.dk.end(), T(0));
  std::fill(gradients.dv.begin(), gradients.dv.end(), T(0));
  T* scores = scratch.data();
  T* slopes = scores + block_scores(s);
  each_block(s, [&](const QueryBlock& block) {
    const T* doutput = dout.data() + block.out_first;
    probabilities(s, block, q.data(), k.data(), scores);
    multiply(Turn::kYes, Turn::kNo, block.seen, s.value_dim, block.count, T(1), scores, block.seen,
             doutput, block.out_step, T(1), gradients.dv.data() + block.value, s.value_step);
    multiply(Turn::kNo, Turn::kYes, block.count, block.seen, s.value_dim, T(1), doutput,
             block.out_step, v.data() + block.value, s.value_step, T(0), slopes, block.seen);
    for (std::int64_t i = 0; i < block.count; ++i) {
      const T* result = out.data() + block.out_first + i * block.out_step;
      const T* slope = doutput + i * block.out_step;
      T mean = 0;
      for (std::int64_t d = 0; d < s.value_dim; ++d) mean += result[d] * slope[d];
      for (std::int64_t c = 0; c < block.seen; ++c) {
        T& value = slopes[i * block.seen + c];
        value = scores[i * block.seen + c] * (value - mean);
      }
    }
    const T scale = static_cast<T>(s.scale);
    multiply(Turn::kNo, Turn::kNo, block.count, s.head_dim, block.seen, scale, slopes, block.seen,
             k.data() + block.key, s.key_step, T(0), gradients.dq.data() + block.first, block.step);
    multiply(Turn::kYes, Turn::kNo, block.seen, s.head_dim, block.count, scale, slopes, block.seen,
             q.data() + block.first, block.step, T(1), gradients.dk.data() + block.key, s.key_step);
  });
}

void attention_of_one(const AttentionShape& s, std::span<const float> q, std::span<const float> k,
                      std::span<const float> v, std::int64_t sequence, std::int64_t query,
                      std::int64_t head, std::span<double> result) {
  const std::int64_t seen = s.causal ? query + 1 : s.context;
  const float* one = q.data() + ((sequence * s.queries + query) * s.heads + head) * s.head_dim;
  const std::int64_t key_head = head / s.group();
  std::vector<double> scores(static_cast<std::size_t>(seen));
  double most = -std::numeric_limits<double>::infinity();
  for (std::int64_t c = 0; c < seen; ++c) {
    const float* key = k.data() + (sequence * s.context + c) * s.key_step + key_head * s.head_dim;
    double dot = 0;
    for (std::int64_t d = 0; d < s.head_dim; ++d) dot += double(one[d]) * double(key[d]);
    scores[static_cast<std::size_t>(c)] = dot * s.scale;
    most = std::max(most, dot * s.scale);
  }
  double sum = 0;
  std::fill(result.begin(), result.end(), 0.0);
  for (std::int64_t c = 0; c < seen; ++c) {
    const double weight = std::exp(scores[static_cast<std::size_t>(c)] - most);
    const float* value =
        v.data() + (sequence * s.context + c) * s.value_step + key_head * s.value_dim;
    sum += weight;
    for (std::int64_t d = 0; d < s.value_dim; ++d) {
      result[static_cast<std::size_t>(d)] += weight * double(value[d]);
    }
  }
  for (double& value : result) value /= sum;
}

#define MOE_INSTANTIATE(T)                                                                  \
  template void attention<T>(const AttentionShape&, std::span<const T>, std::span<const T>, \
                             std::span<const T>, std::span<T>, std::vector<T>&);            \
  template void attention_backward<T>(                                                      \
      const AttentionShape&, std::span<const T>, std::span<const T>, std::span<const T>,    \
      std::span<const T>, std::span<const T>, const AttentionGradients<T>&, std::vector<T>&);
MOE_INSTANTIATE(float)
MOE_INSTANTIATE(double)
#undef MOE_INSTANTIATE

}  // namespace sim::reference
