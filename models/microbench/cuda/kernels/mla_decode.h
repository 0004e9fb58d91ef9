// Decode of multi-head latent attention in its absorbed form (DeepSeek-V2, arXiv:2405.04434): all
// heads share one key of 512 + 64 numbers per position, whose first 512 are the value too. A block
// takes 32 heads and a split of the context. Of a tile of 64 keys each of four warps scores 16 for
// its 16 heads; weights go through shared memory; then each warp sums 128 columns of the values.
#pragma once

#include "models/microbench/cuda/kernels/attention.h"

namespace sim::device_code {

constexpr int kMlaThreads = 256;
constexpr int kLatent = 512;
constexpr int kMlaKey = kLatent + 64;
constexpr int kMlaHeads = 32;  // of a block
constexpr int kMlaShare = kLatent / 4;

constexpr std::size_t kMlaQueryBytes = kMlaHeads * kMlaKey * 2;
constexpr std::size_t kMlaKeyBytes = kKeyTile * kMlaKey * 2;
constexpr std::size_t kMlaWeightBytes = kMlaHeads * kKeyTile * 2;
constexpr std::size_t kMlaSharedBytes =
    kMlaQueryBytes + kMlaKeyBytes + kMlaWeightBytes + kMlaHeads * 4 * sizeof(float);

// The largest of a row over the four warps that have its keys, through `shared` [32 rows][4].
MOE_DEVICE void share_largest(float (&largest)[2], float* shared, int first_row, int quarter) {
  MOE_UNROLL
  for (int half = 0; half < 2; ++half)
    if (thread_index() % 4 == 0)
      shared[(first_row + score_row(2 * half)) * 4 + quarter] = largest[half];
  sync_block();
  MOE_UNROLL
  for (int half = 0; half < 2; ++half)
    for (int other = 0; other < 4; ++other) {
      const float value = shared[(first_row + score_row(2 * half)) * 4 + other];
      largest[half] = value > largest[half] ? value : largest[half];
    }
}

// q[sequences][heads][576], k[sequences][context][576]; partial and stats as in attention_decode.
MOE_KERNEL(kMlaThreads)
mla_decode(AttentionArguments arguments) {
  unsigned char* queries = shared_memory();
  unsigned char* keys = queries + kMlaQueryBytes;
  unsigned char* weights = keys + kMlaKeyBytes;
  auto* shared = reinterpret_cast<float*>(weights + kMlaWeightBytes);
  const int lane = thread_index() % 32;
  const int warp = thread_index() / 32;
  const int first_row = warp / 4 * 16;  // of the block's 32 heads
  const int quarter = warp % 4;
  const int head_tiles = (arguments.heads + kMlaHeads - 1) / kMlaHeads;
  const int per_split = ((arguments.context + kKeyTile - 1) / kKeyTile + arguments.splits - 1) /
                        arguments.splits * kKeyTile;
  const int items = arguments.sequences * head_tiles * arguments.splits;
  for (int item = block_index(); item < items; item += block_count()) {
    const int first_head = item % head_tiles * kMlaHeads;  // neighbours share the keys
    const int split = item / head_tiles % arguments.splits;
    const std::int64_t sequence = item / head_tiles / arguments.splits;
    const int heads = arguments.heads - first_head;
    copy_rows<kMlaHeads, kMlaKey>(
        queries, arguments.q + (sequence * arguments.heads + first_head) * kMlaKey, kMlaKey, heads);
    const Bf16* cache = arguments.k + sequence * arguments.context * kMlaKey;
    const int first = split * per_split;
    const int end = first + per_split < arguments.context ? first + per_split : arguments.context;
    RunningRows running;
    float out[kMlaShare / 8][4] = {};
    for (int key = first; key < end; key += kKeyTile) {
      copy_rows<kKeyTile, kMlaKey>(keys, cache + static_cast<std::int64_t>(key) * kMlaKey, kMlaKey,
                                   end - key);
      commit_copies();
      wait_copies<0>();
      sync_block();
      float scores[2][4];
      score_keys<kMlaKey, 16>(scores, queries, first_row, keys, quarter * 16);
      scale_and_mask<16>(scores, arguments.scale,
                         [&](int, int column) { return key + quarter * 16 + column < end; });
      float largest[2];
      largest_of_rows<16>(largest, scores);
      share_largest(largest, shared, first_row, quarter);
      soften<16, kMlaShare>(scores, largest, running, out);
      // To shared memory as a tile of [32 rows][64 keys].
      MOE_UNROLL
      for (int i = 0; i < 2; ++i) MOE_UNROLL
      for (int half = 0; half < 2; ++half) {
        const int row = first_row + score_row(2 * half);
        const int column = quarter * 16 + score_key(i, 0);
        auto* chunk = const_cast<unsigned char*>(chunk_at<kKeyTile>(weights, row, column / 8));
        *reinterpret_cast<std::uint32_t*>(chunk + column % 8 * 2) =
            pack_bf16(scores[i][2 * half], scores[i][2 * half + 1]);
      }
      sync_block();
      MOE_UNROLL
      for (int step = 0; step < kKeyTile / 16; ++step) {
        std::uint32_t a[4];
        load_matrices(a, chunk_at<kKeyTile>(weights, first_row + ((lane >> 3) & 1) * 8 + (lane & 7),
                                            2 * step + (lane >> 4)));
        add_values<kMlaKey, kMlaShare>(out, a, keys, step * 16, quarter * kMlaShare);
      }
      sync_block();  // keys, weights and maxima are free again
    }
    // Each warp has the sums of its own 16 keys of every tile.
    reduce_sums(running);
    MOE_UNROLL
    for (int half = 0; half < 2; ++half)
      if (thread_index() % 4 == 0)
        shared[(first_row + score_row(2 * half)) * 4 + quarter] = running.sum[half];
    wait_copies<0>();
    sync_block();
    MOE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = first_row + score_row(2 * half);
      if (row >= heads) continue;
      const std::int64_t at =
          (sequence * arguments.heads + first_head + row) * arguments.splits + split;
      MOE_UNROLL
      for (int i = 0; i < kMlaShare / 8; ++i) MOE_UNROLL
      for (int r = 0; r < 2; ++r)
        arguments.partial[at * kLatent + quarter * kMlaShare + score_key(i, r)] =
            out[i][2 * half + r];
      if (quarter == 0 && thread_index() % 4 == 0) {
        arguments.stats[at * 2] = running.largest[half];
        arguments.stats[at * 2 + 1] =
            shared[row * 4] + shared[row * 4 + 1] + shared[row * 4 + 2] + shared[row * 4 + 3];
      }
    }
    sync_block();
  }
}

}  // namespace sim::device_code
