// The inner part of the attention kernels: 16 query rows of a warp against keys that lie in shared
// memory, with the running softmax of FlashAttention (arXiv:2205.14135). Tiles in shared memory are
// rows of kWidth bf16 whose 16-byte chunks are permuted (chunk xor row % 8); kWidth is a multiple
// of
// 64. Scores are in units of log 2, so that the exponential is a power of 2.
#pragma once

#include "models/microbench/cuda/device_code.h"

namespace sim::device_code {

constexpr int kKeyTile = 64;
constexpr float kMasked = -3.0e38F;  // below every score

MOE_DEVICE bool is_masked(float score) { return score < -1.0e38F; }

template <int kWidth>
MOE_DEVICE const unsigned char* chunk_at(const unsigned char* tile, int row, int chunk) {
  static_assert(kWidth % 64 == 0);
  return tile + row * (kWidth * 2) + ((chunk ^ (row & 7)) * 16);
}

// Rows 0..kRows of a tile from memory; rows from `real` on are zeros.
template <int kRows, int kWidth>
MOE_DEVICE void copy_rows(unsigned char* tile, const Bf16* from, std::int64_t stride, int real) {
  constexpr int kChunks = kWidth / 8;
  for (int i = thread_index(); i < kRows * kChunks; i += thread_count()) {
    const int row = i / kChunks;
    const int chunk = i % kChunks;
    const bool valid = row < real;
    copy_async_16(tile + row * (kWidth * 2) + ((chunk ^ (row & 7)) * 16),
                  from + (valid ? row * stride + chunk * 8 : 0), valid);
  }
}

// scores[16][kKeys] of the query rows from `query_row` and the keys from `key`.
template <int kWidth, int kKeys>
MOE_DEVICE void score_keys(float (&scores)[kKeys / 8][4], const unsigned char* queries,
                           int query_row, const unsigned char* keys, int key) {
  const int lane = thread_index() % 32;
  const int low = (lane >> 3) & 1;
  const int high = lane >> 4;
  MOE_UNROLL
  for (int i = 0; i < kKeys / 8; ++i) MOE_UNROLL
  for (int r = 0; r < 4; ++r) scores[i][r] = 0;
  MOE_UNROLL_TWICE
  for (int step = 0; step < kWidth / 16; ++step) {
    std::uint32_t a[4];
    load_matrices(a, chunk_at<kWidth>(queries, query_row + low * 8 + (lane & 7), 2 * step + high));
    MOE_UNROLL
    for (int pair = 0; pair < kKeys / 16; ++pair) {
      std::uint32_t b[4];
      load_matrices(
          b, chunk_at<kWidth>(keys, key + pair * 16 + high * 8 + (lane & 7), 2 * step + low));
      multiply_bf16(scores[2 * pair], a, b[0], b[1]);
      multiply_bf16(scores[2 * pair + 1], a, b[2], b[3]);
    }
  }
}

// Row (within 16) and key (within kKeys) of register r of scores[i].
MOE_DEVICE int score_row(int r) { return (thread_index() % 32) / 4 + 8 * (r / 2); }
MOE_DEVICE int score_key(int i, int r) { return 8 * i + 2 * (thread_index() % 4) + r % 2; }

// The running softmax of a thread's two rows (score_row(0) and score_row(2)).
struct RunningRows {
  float largest[2] = {kMasked, kMasked};
  float sum[2] = {0, 0};  // of this thread's keys only, until reduce_sums
};

// The largest score of each of the two rows over the four threads that share them.
template <int kKeys>
MOE_DEVICE void largest_of_rows(float (&largest)[2], const float (&scores)[kKeys / 8][4]) {
  MOE_UNROLL
  for (int half = 0; half < 2; ++half) {
    float value = kMasked;
    MOE_UNROLL
    for (int i = 0; i < kKeys / 8; ++i) MOE_UNROLL
    for (int r = 2 * half; r < 2 * half + 2; ++r)
      value = scores[i][r] > value ? scores[i][r] : value;
    for (int mask = 1; mask <= 2; mask *= 2) {
      const float other = shuffle_xor(value, mask);
      value = other > value ? other : value;
    }
    largest[half] = value;
  }
}

// Turns scores into weights against the new largest score, and rescales what was summed before.
template <int kKeys, int kOut>
MOE_DEVICE void soften(float (&scores)[kKeys / 8][4], const float (&largest)[2], RunningRows& rows,
                       float (&out)[kOut / 8][4]) {
  MOE_UNROLL
  for (int half = 0; half < 2; ++half) {
    const float now = largest[half] > rows.largest[half] ? largest[half] : rows.largest[half];
    const float rescale = is_masked(now) ? 1.0F : exponential_2(rows.largest[half] - now);
    rows.largest[half] = now;
    rows.sum[half] *= rescale;
    MOE_UNROLL
    for (int i = 0; i < kKeys / 8; ++i) MOE_UNROLL
    for (int r = 2 * half; r < 2 * half + 2; ++r) {
      scores[i][r] = is_masked(scores[i][r]) ? 0.0F : exponential_2(scores[i][r] - now);
      rows.sum[half] += scores[i][r];
    }
    MOE_UNROLL
    for (int i = 0; i < kOut / 8; ++i) MOE_UNROLL
    for (int r = 2 * half; r < 2 * half + 2; ++r) out[i][r] *= rescale;
  }
}

MOE_DEVICE void reduce_sums(RunningRows& rows) {
  MOE_UNROLL
  for (int half = 0; half < 2; ++half)
    for (int mask = 1; mask <= 2; mask *= 2) rows.sum[half] += shuffle_xor(rows.sum[half], mask);
}

// out += one step of 16 keys: weights a (of mma) by values[key..key + 16][column..column + kOut].
template <int kWidth, int kOut>
MOE_DEVICE void add_values(float (&out)[kOut / 8][4], const std::uint32_t (&a)[4],
                           const unsigned char* values, int key, int column) {
  const int lane = thread_index() % 32;
  const int low = (lane >> 3) & 1;
  const int high = lane >> 4;
  MOE_UNROLL
  for (int pair = 0; pair < kOut / 16; ++pair) {
    std::uint32_t b[4];
    load_matrices_transposed(
        b, chunk_at<kWidth>(values, key + low * 8 + (lane & 7), column / 8 + pair * 2 + high));
    multiply_bf16(out[2 * pair], a, b[0], b[1]);
    multiply_bf16(out[2 * pair + 1], a, b[2], b[3]);
  }
}

// out[16][kOut] += weights[16][kKeys] * values, the weights as they lie in the registers of scores.
template <int kWidth, int kKeys, int kOut>
MOE_DEVICE void add_weighted(float (&out)[kOut / 8][4], const float (&weights)[kKeys / 8][4],
                             const unsigned char* values, int key) {
  MOE_UNROLL
  for (int step = 0; step < kKeys / 16; ++step) {
    std::uint32_t a[4];
    MOE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const float(&two)[4] = weights[2 * step + i / 2];
      a[i] = pack_bf16(two[2 * (i % 2)], two[2 * (i % 2) + 1]);
    }
    add_values<kWidth, kOut>(out, a, values, key + step * 16, 0);
  }
}

// scores *= scale; keys that are not seen are masked.
template <int kKeys, typename Sees>
MOE_DEVICE void scale_and_mask(float (&scores)[kKeys / 8][4], float scale, Sees sees) {
  MOE_UNROLL
  for (int i = 0; i < kKeys / 8; ++i) MOE_UNROLL
  for (int r = 0; r < 4; ++r)
    scores[i][r] = sees(score_row(r), score_key(i, r)) ? scores[i][r] * scale : kMasked;
}

}  // namespace sim::device_code
