// Choices to rows in expert order, stable (an expert's rows are in the order of their flat choice,
// token * top_k + slot): count per chunk of choices, scan, place. The answer does not depend on
// timing; no atomics. One warp per chunk.
#pragma once

#include "models/microbench/cuda/device_code.h"

namespace sim::device_code {

constexpr int kOrderThreads = 128;
constexpr int kScanThreads = 1024;
constexpr int kChunkChoices = 1024;

struct ExpertOrderArguments {
  const std::int32_t* choices;
  int count;                // of choices
  int experts;              // at most kScanThreads
  std::int32_t* per_chunk;  // [chunks][experts]: counts, then where the chunk's rows begin
  std::int32_t* offsets;    // [experts + 1]
  std::int32_t* source;     // [count] per row: its flat choice
  std::int32_t* position;   // [count] per flat choice: its row
};

MOE_BOTH int chunk_count(int choices) { return (choices + kChunkChoices - 1) / kChunkChoices; }
inline std::size_t order_shared_bytes(int experts) {
  return static_cast<std::size_t>(kOrderThreads / 32) * static_cast<std::size_t>(experts) *
         sizeof(std::int32_t);
}

// Walks this warp's chunks; visit(chunk) prepares next[experts], then place(flat, expert, row) is
// called for every choice with the row that next[] gives it.
template <typename Prepare, typename Place, typename Finish>
MOE_DEVICE void walk_chunks(const ExpertOrderArguments& arguments, Prepare prepare, Place place,
                            Finish finish) {
  const int lane = thread_index() % 32;
  const int warps = thread_count() / 32;
  auto* next =
      reinterpret_cast<std::int32_t*>(shared_memory()) + (thread_index() / 32) * arguments.experts;
  const int chunks = chunk_count(arguments.count);
  for (int chunk = block_index() * warps + thread_index() / 32; chunk < chunks;
       chunk += block_count() * warps) {
    for (int expert = lane; expert < arguments.experts; expert += 32)
      next[expert] = prepare(chunk, expert);
    sync_warp();
    for (int base = chunk * kChunkChoices; base < (chunk + 1) * kChunkChoices; base += 32) {
      const int flat = base + lane;
      const bool real = flat < arguments.count;
      const int expert = real ? arguments.choices[flat] : -1;
      const std::uint32_t same = lanes_with_same(expert);
      const int rank = count_bits(same & ((std::uint32_t{1} << lane) - 1));
      const int row = real ? next[expert] + rank : 0;
      if (real) place(flat, row);
      sync_warp();  // all have read next[]
      if (real && rank == 0) next[expert] = row + count_bits(same);
      sync_warp();
    }
    for (int expert = lane; expert < arguments.experts; expert += 32)
      finish(chunk, expert, next[expert]);
    sync_warp();
  }
}

MOE_KERNEL(kOrderThreads)
count_choices(ExpertOrderArguments arguments) {
  walk_chunks(
      arguments, [](int, int) { return 0; }, [](int, int) {},
      [&](int chunk, int expert, int count) {
        arguments.per_chunk[static_cast<std::int64_t>(chunk) * arguments.experts + expert] = count;
      });
}

// One block; thread e keeps expert e.
MOE_KERNEL(kScanThreads)
scan_chunks(ExpertOrderArguments arguments) {
  auto* warp_sums = reinterpret_cast<std::int32_t*>(shared_memory());  // 32 of them
  const int chunks = chunk_count(arguments.count);
  const int expert = thread_index();
  const bool real = expert < arguments.experts;
  int rows = 0;
  for (int chunk = 0; real && chunk < chunks; ++chunk)
    rows += arguments.per_chunk[static_cast<std::int64_t>(chunk) * arguments.experts + expert];
  const int lane = expert % 32;
  int sum = rows;  // of the experts of this warp up to this one
  for (int distance = 1; distance < 32; distance *= 2) {
    const int other = shuffle_from(sum, lane >= distance ? lane - distance : lane);
    if (lane >= distance) sum += other;
  }
  if (lane == 31) warp_sums[expert / 32] = sum;
  sync_block();
  int begin = sum - rows;
  for (int warp = 0; warp < expert / 32; ++warp) begin += warp_sums[warp];
  if (real) arguments.offsets[expert] = begin;
  if (expert == arguments.experts - 1) arguments.offsets[arguments.experts] = begin + rows;
  for (int chunk = 0; real && chunk < chunks; ++chunk) {
    std::int32_t& cell =
        arguments.per_chunk[static_cast<std::int64_t>(chunk) * arguments.experts + expert];
    const int here = cell;
    cell = begin;
    begin += here;
  }
}

MOE_KERNEL(kOrderThreads)
place_choices(ExpertOrderArguments arguments) {
  walk_chunks(
      arguments,
      [&](int chunk, int expert) {
        return arguments.per_chunk[static_cast<std::int64_t>(chunk) * arguments.experts + expert];
      },
      [&](int flat, int row) {
        arguments.position[flat] = row;
        arguments.source[row] = flat;
      },
      [](int, int, int) {});
}

}  // namespace sim::device_code
