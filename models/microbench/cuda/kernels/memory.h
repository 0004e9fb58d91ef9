// What memory can do at best: read, write, copy, triad, 16 bytes per access, four in flight.
#pragma once

#include "models/microbench/cuda/device_code.h"

namespace sim::device_code {

constexpr int kMemoryThreads = 512;

// Calls visit(i) for this thread's share of 0..count, four independent ones at a time.
template <typename Visit>
MOE_DEVICE void for_each_chunk(std::int64_t count, Visit visit) {
  const std::int64_t step = static_cast<std::int64_t>(block_count()) * thread_count();
  std::int64_t i = static_cast<std::int64_t>(block_index()) * thread_count() + thread_index();
  for (; i + 3 * step < count; i += 4 * step) {
    MOE_UNROLL
    for (int part = 0; part < 4; ++part) visit(i + part * step);
  }
  for (; i < count; i += step) visit(i);
}

// Reads all and keeps the exclusive or of all words per block, so that no read can be left out.
MOE_KERNEL(kMemoryThreads)
memory_read(const Bytes16* source, std::int64_t count, std::uint32_t* per_block) {
  auto* shared = reinterpret_cast<std::uint32_t*>(shared_memory());
  std::uint32_t all = 0;
  for_each_chunk(count, [&](std::int64_t i) {
    const Bytes16 chunk = source[i];
    all ^= chunk.words[0] ^ chunk.words[1] ^ chunk.words[2] ^ chunk.words[3];
  });
  for (int mask = 16; mask > 0; mask /= 2) all ^= shuffle_xor(all, mask);
  if (thread_index() % 32 == 0) shared[thread_index() / 32] = all;
  sync_block();
  if (thread_index() == 0) {
    for (int warp = 1; warp < thread_count() / 32; ++warp) all ^= shared[warp];
    per_block[block_index()] = all;
  }
}

MOE_KERNEL(kMemoryThreads)
memory_write(Bytes16* target, std::int64_t count, std::uint32_t word) {
  for_each_chunk(count, [&](std::int64_t i) { target[i] = Bytes16{{word, word, word, word}}; });
}

MOE_KERNEL(kMemoryThreads)
memory_copy(const Bytes16* source, Bytes16* target, std::int64_t count) {
  for_each_chunk(count, [&](std::int64_t i) { target[i] = source[i]; });
}

struct alignas(16) Floats4 {
  float values[4];
};

// target = a + factor * b
MOE_KERNEL(kMemoryThreads)
memory_triad(const Floats4* a, const Floats4* b, Floats4* target, float factor,
             std::int64_t count) {
  for_each_chunk(count, [&](std::int64_t i) {
    const Floats4 left = a[i];
    const Floats4 right = b[i];
    Floats4 sum;
    MOE_UNROLL
    for (int part = 0; part < 4; ++part)
      sum.values[part] = left.values[part] + factor * right.values[part];
    target[i] = sum;
  });
}

}  // namespace sim::device_code
