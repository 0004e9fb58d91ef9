// Attention forward: prefill (causal, grouped-query; keys may be longer than values, as MLA's are)
// and decode over splits of the context, whose parts a last kernel puts together. bf16, sums in
// fp32. Layouts as in reference/attention.h: q[sequences][queries][heads][kKey],
// k[sequences][context][kv_heads][kKey], v[...][kValue], out[sequences][queries][heads][kValue].
#pragma once

#include "models/microbench/cuda/kernels/attention_tile.h"

namespace sim::device_code {

constexpr int kAttentionThreads = 128;
constexpr int kQueryTile = 64;  // of prefill: 16 rows per warp
constexpr int kMostGroup = 16;  // of decode: query heads that share a key head

struct AttentionArguments {
  const Bf16* q;
  const Bf16* k;
  const Bf16* v;
  Bf16* out;       // prefill
  float* lse;      // prefill: [sequences][tokens][heads], log2 of the sum of weights; may be null
  float* partial;  // decode: [sequences][heads][splits][value]
  float* stats;    // decode: [sequences][heads][splits][2]: largest score, sum of weights
  int sequences;
  int context;
  int heads;
  int kv_heads;
  int splits;
  float scale;  // of the scores, times log2(e)
};

template <int kKey, int kValue, int kRows>
constexpr std::size_t attention_shared_bytes() {
  return 2 * (static_cast<std::size_t>(kRows) * kKey + kKeyTile * (kKey + kValue));
}

// Walks over key tiles first..end of one key head. Keys and values have one tile each: the next
// keys travel while values are multiplied, the next values while keys are. use_keys(first key of
// the tile) and use_values() are called with their tile in shared memory. Queries that were copied
// before, uncommitted, arrive with the first keys.
template <int kKey, int kValue, typename UseKeys, typename UseValues>
MOE_DEVICE void walk_keys(const Bf16* k, std::int64_t key_stride, const Bf16* v,
                          std::int64_t value_stride, int first, int end, unsigned char* keys,
                          unsigned char* values, UseKeys use_keys, UseValues use_values) {
  const auto fetch_keys = [&](int key) {
    if (key < end) copy_rows<kKeyTile, kKey>(keys, k + key * key_stride, key_stride, end - key);
    commit_copies();
  };
  const auto fetch_values = [&](int key) {
    if (key < end)
      copy_rows<kKeyTile, kValue>(values, v + key * value_stride, value_stride, end - key);
    commit_copies();
  };
  fetch_keys(first);
  fetch_values(first);
  for (int key = first; key < end; key += kKeyTile) {
    wait_copies<1>();
    sync_block();
    use_keys(key);
    sync_block();
    fetch_keys(key + kKeyTile);
    wait_copies<1>();
    sync_block();
    use_values();
    sync_block();
    fetch_values(key + kKeyTile);
  }
  wait_copies<0>();
  sync_block();
}

template <int kKey, int kValue>
MOE_KERNEL(kAttentionThreads)
attention_prefill(AttentionArguments arguments) {
  unsigned char* queries = shared_memory();
  unsigned char* keys = queries + kQueryTile * kKey * 2;
  unsigned char* values = keys + kKeyTile * kKey * 2;
  const int warp = thread_index() / 32;
  const int tokens = arguments.context;
  const int tiles = (tokens + kQueryTile - 1) / kQueryTile;
  const int columns = arguments.sequences * arguments.heads;
  const int group = arguments.heads / arguments.kv_heads;
  const std::int64_t query_stride = static_cast<std::int64_t>(arguments.heads) * kKey;
  const std::int64_t key_stride = static_cast<std::int64_t>(arguments.kv_heads) * kKey;
  const std::int64_t value_stride = static_cast<std::int64_t>(arguments.kv_heads) * kValue;
  // The last tiles have the most keys: they go first.
  for (int item = block_index(); item < tiles * columns; item += block_count()) {
    const int first_query = (tiles - 1 - item / columns) * kQueryTile;
    const int head = item % columns % arguments.heads;
    const std::int64_t start = static_cast<std::int64_t>(item % columns / arguments.heads) * tokens;
    const int rows = tokens - first_query;
    copy_rows<kQueryTile, kKey>(queries,
                                arguments.q + (start + first_query) * query_stride + head * kKey,
                                query_stride, rows);
    RunningRows running;
    float scores[kKeyTile / 8][4];
    float out[kValue / 8][4] = {};
    const int end = rows < kQueryTile ? tokens : first_query + kQueryTile;
    walk_keys<kKey, kValue>(
        arguments.k + start * key_stride + head / group * kKey, key_stride,
        arguments.v + start * value_stride + head / group * kValue, value_stride, 0, end, keys,
        values,
        [&](int key) {
          score_keys<kKey, kKeyTile>(scores, queries, warp * 16, keys, 0);
          scale_and_mask<kKeyTile>(scores, arguments.scale, [&](int row, int column) {
            return key + column <= first_query + warp * 16 + row && key + column < end;
          });
          float largest[2];
          largest_of_rows<kKeyTile>(largest, scores);
          soften<kKeyTile, kValue>(scores, largest, running, out);
        },
        [&] { add_weighted<kValue, kKeyTile, kValue>(out, scores, values, 0); });
    reduce_sums(running);
    MOE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = warp * 16 + score_row(2 * half);
      if (row >= rows) continue;
      const float factor = 1.0F / running.sum[half];
      if (arguments.lse != nullptr && thread_index() % 4 == 0)
        arguments.lse[(start + first_query + row) * arguments.heads + head] =
            running.largest[half] + logarithm_2(running.sum[half]);
      Bf16* to = arguments.out + ((start + first_query + row) * arguments.heads + head) * kValue;
      MOE_UNROLL
      for (int i = 0; i < kValue / 8; ++i)
        *reinterpret_cast<std::uint32_t*>(to + score_key(i, 0)) =
            pack_bf16(out[i][2 * half] * factor, out[i][2 * half + 1] * factor);
    }
  }
}

// One split of one key head of one sequence per turn of a block: its query heads are the rows. Each
// of the four warps takes 16 keys of every tile; at the end their four results are put together.
template <int kKey, int kValue>
MOE_KERNEL(kAttentionThreads)
attention_decode(AttentionArguments arguments) {
  unsigned char* queries = shared_memory();
  unsigned char* keys = queries + kMostGroup * kKey * 2;
  unsigned char* values = keys + kKeyTile * kKey * 2;
  // After the walk the place of keys and values holds [4 warps][16 rows][kValue] and their stats.
  auto* warp_out = reinterpret_cast<float*>(keys);
  auto* warp_stats = reinterpret_cast<float*>(queries);  // [4][16][2]
  const int warp = thread_index() / 32;
  const int group = arguments.heads / arguments.kv_heads;
  const int per_split = ((arguments.context + kKeyTile - 1) / kKeyTile + arguments.splits - 1) /
                        arguments.splits * kKeyTile;
  const std::int64_t key_stride = static_cast<std::int64_t>(arguments.kv_heads) * kKey;
  const std::int64_t value_stride = static_cast<std::int64_t>(arguments.kv_heads) * kValue;
  const int items = arguments.sequences * arguments.kv_heads * arguments.splits;
  for (int item = block_index(); item < items; item += block_count()) {
    const int split = item % arguments.splits;
    const int kv_head = item / arguments.splits % arguments.kv_heads;
    const std::int64_t sequence = item / arguments.splits / arguments.kv_heads;
    const std::int64_t first_head = sequence * arguments.heads + kv_head * group;
    copy_rows<kMostGroup, kKey>(queries, arguments.q + first_head * kKey, kKey, group);
    const int first = split * per_split;
    const int end = first + per_split < arguments.context ? first + per_split : arguments.context;
    const std::int64_t start = sequence * arguments.context;
    RunningRows running;
    float scores[2][4];
    float out[kValue / 8][4] = {};
    walk_keys<kKey, kValue>(
        arguments.k + start * key_stride + kv_head * kKey, key_stride,
        arguments.v + start * value_stride + kv_head * kValue, value_stride, first, end, keys,
        values,
        [&](int key) {
          score_keys<kKey, 16>(scores, queries, 0, keys, warp * 16);
          scale_and_mask<16>(scores, arguments.scale,
                             [&](int, int column) { return key + warp * 16 + column < end; });
          float largest[2];
          largest_of_rows<16>(largest, scores);
          soften<16, kValue>(scores, largest, running, out);
        },
        [&] { add_weighted<kValue, 16, kValue>(out, scores, values, warp * 16); });
    reduce_sums(running);
    MOE_UNROLL
    for (int half = 0; half < 2; ++half) {
      const int row = score_row(2 * half);
      if (thread_index() % 4 == 0) {
        warp_stats[(warp * 16 + row) * 2] = running.largest[half];
        warp_stats[(warp * 16 + row) * 2 + 1] = running.sum[half];
      }
      MOE_UNROLL
      for (int i = 0; i < kValue / 8; ++i) MOE_UNROLL
      for (int r = 0; r < 2; ++r)
        warp_out[(warp * 16 + row) * kValue + score_key(i, r)] = out[i][2 * half + r];
    }
    sync_block();
    for (int i = thread_index(); i < group * kValue; i += thread_count()) {
      const int row = i / kValue;
      const int column = i % kValue;
      float largest = kMasked;
      for (int other = 0; other < 4; ++other) {
        const float value = warp_stats[(other * 16 + row) * 2];
        largest = value > largest ? value : largest;
      }
      float sum = 0;
      float total = 0;
      for (int other = 0; other < 4; ++other) {
        const float value = warp_stats[(other * 16 + row) * 2];
        const float factor = is_masked(value) ? 0.0F : exponential_2(value - largest);
        sum += factor * warp_stats[(other * 16 + row) * 2 + 1];
        total += factor * warp_out[(other * 16 + row) * kValue + column];
      }
      const std::int64_t at = (first_head + row) * arguments.splits + split;
      arguments.partial[at * kValue + column] = total;
      if (column == 0) {
        arguments.stats[at * 2] = largest;
        arguments.stats[at * 2 + 1] = sum;
      }
    }
    sync_block();
  }
}

// out[rows][value] from the parts of all splits.
MOE_KERNEL(kAttentionThreads)
combine_splits(const float* partial, const float* stats, Bf16* out, std::int64_t rows, int splits,
               int value) {
  for (std::int64_t row = block_index(); row < rows; row += block_count()) {
    float largest = kMasked;
    for (int split = 0; split < splits; ++split) {
      const float one = stats[(row * splits + split) * 2];
      largest = one > largest ? one : largest;
    }
    for (int column = thread_index(); column < value; column += thread_count()) {
      float sum = 0;
      float total = 0;
      for (int split = 0; split < splits; ++split) {
        const std::int64_t at = row * splits + split;
        const float factor =
            is_masked(stats[at * 2]) ? 0.0F : exponential_2(stats[at * 2] - largest);
        sum += factor * stats[at * 2 + 1];
        total += factor * partial[at * value + column];
      }
      out[row * value + column] = to_bf16(total / sum);
    }
  }
}

}  // namespace sim::device_code
