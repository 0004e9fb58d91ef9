// Reproducible random inputs, made on the device: a hash of the index (the finaliser of
// MurmurHash3, public domain), so values do not depend on the number of threads. Random bits matter
// for the clock too: matrix units take less power on zeros.
#pragma once

#include "models/microbench/cuda/device_code.h"

namespace sim::device_code {

constexpr int kFillThreads = 256;

MOE_BOTH std::uint32_t hashed(std::uint64_t index, std::uint32_t seed) {
  std::uint64_t bits = index + (static_cast<std::uint64_t>(seed) << 40U) + 0x9e3779b97f4a7c15U;
  bits = (bits ^ (bits >> 33U)) * 0xff51afd7ed558ccdU;
  bits = (bits ^ (bits >> 33U)) * 0xc4ceb9fe1a85ec53U;
  return static_cast<std::uint32_t>(bits >> 32U);
}

// In [-amplitude, amplitude).
MOE_BOTH float random_at(std::uint64_t index, std::uint32_t seed, float amplitude) {
  return (static_cast<float>(hashed(index, seed) >> 8U) * 0x1p-23F - 1.0F) * amplitude;
}

MOE_BOTH void set_value(float& target, float value) { target = value; }
MOE_BOTH void set_value(Bf16& target, float value) { target = to_bf16(value); }
MOE_BOTH void set_value(Fp8& target, float value) { target = to_fp8(value); }

template <typename T>
MOE_KERNEL(kFillThreads)
fill_random(T* target, std::int64_t count, std::uint32_t seed, float middle, float amplitude) {
  const std::int64_t step = static_cast<std::int64_t>(block_count()) * thread_count();
  for (std::int64_t i = static_cast<std::int64_t>(block_index()) * thread_count() + thread_index();
       i < count; i += step)
    set_value(target[i], middle + random_at(static_cast<std::uint64_t>(i), seed, amplitude));
}

}  // namespace sim::device_code
