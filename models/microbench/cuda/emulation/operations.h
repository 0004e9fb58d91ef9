// The warp instructions of device_code.h on the host, from their description in the PTX ISA.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "models/microbench/cuda/emulation/block.h"

namespace sim::emulation {

inline int count_bits(std::uint32_t bits) { return std::popcount(bits); }
inline float exponential_2(float x) { return std::exp2(x); }
inline float logarithm_2(float x) { return std::log2(x); }

inline void sync_warp() {
  warp_operation([](void* const(&)[kWarpSize]) {}, nullptr);
}

template <typename T>
struct Shuffle {
  T value;
  int lane;  // whose value is asked for
  T result;
};

template <typename T>
T shuffle_from(T value, int lane) {
  Shuffle<T> mine{value, lane, value};
  warp_operation(
      [](void* const(&lanes)[kWarpSize]) {
        for (void* lane_arguments : lanes) {
          auto* asks = static_cast<Shuffle<T>*>(lane_arguments);
          asks->result = static_cast<Shuffle<T>*>(lanes[asks->lane & (kWarpSize - 1)])->value;
        }
      },
      &mine);
  return mine.result;
}

template <typename T>
T shuffle_xor(T value, int mask) {
  return shuffle_from(value, (thread_index() % kWarpSize) ^ mask);
}

std::uint32_t lanes_with_same(int value);

void load_matrices(std::uint32_t (&registers)[4], const void* row);
void load_matrices_transposed(std::uint32_t (&registers)[4], const void* row);

void multiply_bf16(float (&sum)[4], const std::uint32_t (&a)[4], std::uint32_t b0,
                   std::uint32_t b1);
void multiply_fp8(float (&sum)[4], const std::uint32_t (&a)[4], std::uint32_t b0, std::uint32_t b1);

}  // namespace sim::emulation
