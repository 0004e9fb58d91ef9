// Gradients of prefill attention without atomics: one kernel for dq, which walks over keys, and one
// for dk and dv, which walks over queries; both make the weights again from the forward's
// log-sum-exp (FlashAttention-2, arXiv:2307.08691, makes them once and adds dq atomically: five
// products where there are seven here). With p = exp(s - lse), delta = out . dout: dv = p^T dout,
// ds = p (dout v^T - delta), dq = scale ds k, dk = scale ds^T q.
#pragma once

#include "models/microbench/cuda/kernels/attention.h"

namespace sim::device_code {

constexpr int kGradientQueries = 32;  // of a step of the dk and dv kernel

struct AttentionGradientArguments {
  AttentionArguments forward;  // q, k, v, lse and the sizes
  const Bf16* dout;
  const float* delta;  // [sequences][tokens][heads]
  Bf16* dq;
  Bf16* dk;
  Bf16* dv;
  float plain_scale;  // of the scores, without log2(e)
};

// delta[rows] = out . dout, one warp per row.
MOE_KERNEL(kAttentionThreads)
attention_delta(const Bf16* out, const Bf16* dout, float* delta, std::int64_t rows, int value) {
  const int lane = thread_index() % 32;
  const int warps = thread_count() / 32;
  for (std::int64_t row = block_index() * warps + thread_index() / 32; row < rows;
       row += block_count() * warps) {
    float sum = 0;
    for (int i = lane; i < value; i += 32)
      sum += to_float(out[row * value + i]) * to_float(dout[row * value + i]);
    sum = warp_sum(sum);
    if (lane == 0) delta[row] = sum;
  }
}

template <int kWidth>
MOE_DEVICE void store_row_pairs(Bf16* row, const float (&values)[kWidth / 8][4], int half,
                                float factor) {
  MOE_UNROLL
  for (int i = 0; i < kWidth / 8; ++i)
    *reinterpret_cast<std::uint32_t*>(row + score_key(i, 0)) =
        pack_bf16(values[i][2 * half] * factor, values[i][2 * half + 1] * factor);
}

template <int kKey, int kValue>
constexpr std::size_t query_gradient_shared_bytes() {
  return 2 * (kQueryTile + kKeyTile) * (kKey + kValue);
}

template <int kKey, int kValue>
MOE_KERNEL(kAttentionThreads)
attention_query_gradient(AttentionGradientArguments arguments) {
  const AttentionArguments& sizes = arguments.forward;
  unsigned char* queries = shared_memory();
  unsigned char* douts = queries + kQueryTile * kKey * 2;
  unsigned char* keys = douts + kQueryTile * kValue * 2;
  unsigned char* values = keys + kKeyTile * kKey * 2;
  const int warp = thread_index() / 32;
  const int tokens = sizes.context;
  const int tiles = (tokens + kQueryTile - 1) / kQueryTile;
  const int columns = sizes.sequences * sizes.heads;
  const std::int64_t key_stride = static_cast<std::int64_t>(sizes.kv_heads) * kKey;
  const std::int64_t value_stride = static_cast<std::int64_t>(sizes.kv_heads) * kValue;
  for (int item = block_index(); item < tiles * columns; item += block_count()) {
    const int first_query = (tiles - 1 - item / columns) * kQueryTile;
    const int head = item % columns % sizes.heads;
    const int kv_head = head / (sizes.heads / sizes.kv_heads);
    const std::int64_t start = static_cast<std::int64_t>(item % columns / sizes.heads) * tokens;
    const int rows = tokens - first_query;
    const std::int64_t first_row = (start + first_query) * sizes.heads + head;
    copy_rows<kQueryTile, kKey>(queries, sizes.q + first_row * kKey,
                                static_cast<std::int64_t>(sizes.heads) * kKey, rows);
    copy_rows<kQueryTile, kValue>(douts, arguments.dout + first_row * kValue,
                                  static_cast<std::int64_t>(sizes.heads) * kValue, rows);
    float lse[2] = {};
    float delta[2] = {};
    MOE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = warp * 16 + score_row(2 * half);
      if (row >= rows) continue;
      lse[half] = sizes.lse[first_row + static_cast<std::int64_t>(row) * sizes.heads];
      delta[half] = arguments.delta[first_row + static_cast<std::int64_t>(row) * sizes.heads];
    }
    float dq[kKey / 8][4] = {};
    const int end = rows < kQueryTile ? tokens : first_query + kQueryTile;
    for (int key = 0; key < end; key += kKeyTile) {
      copy_rows<kKeyTile, kKey>(keys, sizes.k + (start + key) * key_stride + kv_head * kKey,
                                key_stride, end - key);
      copy_rows<kKeyTile, kValue>(values, sizes.v + (start + key) * value_stride + kv_head * kValue,
                                  value_stride, end - key);
      commit_copies();
      wait_copies<0>();
      sync_block();
      float weights[kKeyTile / 8][4];
      float slopes[kKeyTile / 8][4];
      score_keys<kKey, kKeyTile>(weights, queries, warp * 16, keys, 0);
      score_keys<kValue, kKeyTile>(slopes, douts, warp * 16, values, 0);
      MOE_UNROLL
      for (int i = 0; i < kKeyTile / 8; ++i) MOE_UNROLL
      for (int r = 0; r < 4; ++r) {
        const int at = key + score_key(i, r);
        const bool seen = at < end && at <= first_query + warp * 16 + score_row(r);
        const float weight = seen ? exponential_2(weights[i][r] * sizes.scale - lse[r / 2]) : 0.0F;
        slopes[i][r] = weight * (slopes[i][r] - delta[r / 2]);
      }
      add_weighted<kKey, kKeyTile, kKey>(dq, slopes, keys, 0);
      sync_block();
    }
    MOE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = warp * 16 + score_row(2 * half);
      if (row < rows)
        store_row_pairs<kKey>(
            arguments.dq + (first_row + static_cast<std::int64_t>(row) * sizes.heads) * kKey, dq,
            half, arguments.plain_scale);
    }
  }
}

template <int kKey, int kValue>
constexpr std::size_t key_gradient_shared_bytes() {
  return 2 * (kKeyTile + kGradientQueries) * (kKey + kValue) + 2 * kGradientQueries * sizeof(float);
}

// Rows are keys here and columns queries, so that a warp keeps dk and dv of its 16 keys. The query
// heads that share a key head follow each other.
template <int kKey, int kValue>
MOE_KERNEL(kAttentionThreads)
attention_key_gradient(AttentionGradientArguments arguments) {
  const AttentionArguments& sizes = arguments.forward;
  unsigned char* keys = shared_memory();
  unsigned char* values = keys + kKeyTile * kKey * 2;
  unsigned char* queries = values + kKeyTile * kValue * 2;
  unsigned char* douts = queries + kGradientQueries * kKey * 2;
  auto* lse = reinterpret_cast<float*>(douts + kGradientQueries * kValue * 2);
  float* delta = lse + kGradientQueries;
  const int warp = thread_index() / 32;
  const int tokens = sizes.context;
  const int tiles = (tokens + kKeyTile - 1) / kKeyTile;
  const int columns = sizes.sequences * sizes.kv_heads;
  const int group = sizes.heads / sizes.kv_heads;
  for (int item = block_index(); item < tiles * columns; item += block_count()) {
    const int first_key = item / columns * kKeyTile;  // the first tiles have the most queries
    const int kv_head = item % columns % sizes.kv_heads;
    const std::int64_t start = static_cast<std::int64_t>(item % columns / sizes.kv_heads) * tokens;
    const std::int64_t key_row = (start + first_key) * sizes.kv_heads + kv_head;
    const int rows = tokens - first_key;
    copy_rows<kKeyTile, kKey>(keys, sizes.k + key_row * kKey,
                              static_cast<std::int64_t>(sizes.kv_heads) * kKey, rows);
    copy_rows<kKeyTile, kValue>(values, sizes.v + key_row * kValue,
                                static_cast<std::int64_t>(sizes.kv_heads) * kValue, rows);
    float dk[kKey / 8][4] = {};
    float dv[kValue / 8][4] = {};
    for (int head = kv_head * group; head < (kv_head + 1) * group; ++head)
      for (int query = first_key; query < tokens; query += kGradientQueries) {
        const std::int64_t row = (start + query) * sizes.heads + head;
        copy_rows<kGradientQueries, kKey>(queries, sizes.q + row * kKey,
                                          static_cast<std::int64_t>(sizes.heads) * kKey,
                                          tokens - query);
        copy_rows<kGradientQueries, kValue>(douts, arguments.dout + row * kValue,
                                            static_cast<std::int64_t>(sizes.heads) * kValue,
                                            tokens - query);
        commit_copies();
        if (thread_index() < kGradientQueries) {
          const int i = thread_index();
          const bool real = query + i < tokens;
          const std::int64_t at = row + static_cast<std::int64_t>(i) * sizes.heads;
          lse[i] = real ? sizes.lse[at] : 0.0F;
          delta[i] = real ? arguments.delta[at] : 0.0F;
        }
        wait_copies<0>();
        sync_block();
        float weights[kGradientQueries / 8][4];
        float slopes[kGradientQueries / 8][4];
        score_keys<kKey, kGradientQueries>(weights, keys, warp * 16, queries, 0);
        score_keys<kValue, kGradientQueries>(slopes, values, warp * 16, douts, 0);
        MOE_UNROLL
        for (int i = 0; i < kGradientQueries / 8; ++i) MOE_UNROLL
        for (int r = 0; r < 4; ++r) {
          const int column = score_key(i, r);
          const bool seen =
              query + column < tokens && first_key + warp * 16 + score_row(r) <= query + column;
          weights[i][r] = seen ? exponential_2(weights[i][r] * sizes.scale - lse[column]) : 0.0F;
          slopes[i][r] = weights[i][r] * (slopes[i][r] - delta[column]);
        }
        add_weighted<kValue, kGradientQueries, kValue>(dv, weights, douts, 0);
        add_weighted<kKey, kGradientQueries, kKey>(dk, slopes, queries, 0);
        sync_block();
      }
    MOE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int key = warp * 16 + score_row(2 * half);
      if (key >= rows) continue;
      const std::int64_t row = key_row + static_cast<std::int64_t>(key) * sizes.kv_heads;
      store_row_pairs<kKey>(arguments.dk + row * kKey, dk, half, arguments.plain_scale);
      store_row_pairs<kValue>(arguments.dv + row * kValue, dv, half, 1.0F);
    }
  }
}

}  // namespace sim::device_code
