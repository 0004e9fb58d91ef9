// bf16 to fp8 (e4m3) with a scale per 128 values of a row: scale = largest magnitude / 448 (1 for
// zeros). The last group of a row may be shorter; rows are multiples of 4 values.
#pragma once

#include "models/microbench/cuda/device_code.h"

namespace sim::device_code {

constexpr int kScaleGroup = 128;
constexpr int kQuantiseThreads = 256;

struct QuantisedGroup {
  std::uint32_t four;  // this lane's values 4 * lane .. 4 * lane + 3
  float scale;         // of the group
};

MOE_BOTH int groups_of(int hidden) { return (hidden + kScaleGroup - 1) / kScaleGroup; }

// A warp quantises 128 values, of which the first `count` are real.
MOE_DEVICE QuantisedGroup quantise_group(const Bf16* group, int count) {
  const int lane = thread_index() % 32;
  float values[4] = {};
  MOE_UNROLL
  for (int pair = 0; pair < 2; ++pair) {
    if (4 * lane >= count) break;
    const std::uint32_t word = reinterpret_cast<const std::uint32_t*>(group)[lane * 2 + pair];
    values[2 * pair] = to_float(Bf16{static_cast<std::uint16_t>(word & 0xffffU)});
    values[2 * pair + 1] = to_float(Bf16{static_cast<std::uint16_t>(word >> 16U)});
  }
  float largest = 0;
  MOE_UNROLL
  for (int i = 0; i < 4; ++i) {
    const float magnitude = values[i] < 0 ? -values[i] : values[i];
    largest = magnitude > largest ? magnitude : largest;
  }
  largest = warp_max(largest);
  const float scale = largest > 0 ? largest / kFp8Max : 1.0F;
  std::uint32_t four = 0;
  MOE_UNROLL
  for (int i = 0; i < 4; ++i)
    four |= static_cast<std::uint32_t>(to_fp8(values[i] / scale).bits) << (8 * i);
  return {four, scale};
}

// What a lane stores of its group.
MOE_DEVICE void store_group(Fp8* row, int group, int hidden, const QuantisedGroup& values) {
  const int at = group * kScaleGroup + 4 * (thread_index() % 32);
  if (at < hidden) *reinterpret_cast<std::uint32_t*>(row + at) = values.four;
}

// out[rows][hidden], scales[rows][groups_of(hidden)]
MOE_KERNEL(kQuantiseThreads)
quantise_rows(const Bf16* in, Fp8* out, float* scales, std::int64_t rows, int hidden) {
  const int lane = thread_index() % 32;
  const int warps = thread_count() / 32;
  const int groups = groups_of(hidden);
  for (std::int64_t i = block_index() * warps + thread_index() / 32; i < rows * groups;
       i += block_count() * warps) {
    const std::int64_t row = i / groups;
    const int group = static_cast<int>(i % groups);
    const QuantisedGroup values =
        quantise_group(in + row * hidden + group * kScaleGroup, hidden - group * kScaleGroup);
    store_group(out + row * hidden, group, hidden, values);
    if (lane == 0) scales[i] = values.scale;
  }
}

}  // namespace sim::device_code
