#include "models/microbench/reference/number_formats.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "models/microbench/reference/array_size.h"

namespace sim::reference {

std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>(bits >> 16 | 0x40u);
  const std::uint32_t even = bits >> 16 & 1u;
  return static_cast<std::uint16_t>((bits + 0x7fffu + even) >> 16);
}

float from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

// Works on the float's bits: normal results keep 3 bits of mantissa by adding half of what is cut
// (less one, plus the lowest bit kept: ties to even); results below 2^-6 are steps of 2^-9.
std::uint8_t to_e4m3(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const auto sign = static_cast<std::uint8_t>(bits >> 24 & 0x80u);
  const std::uint32_t magnitude = bits & 0x7fffffffu;
  if (magnitude > 0x7f800000u) return sign | 0x7f;
  const float absolute = std::bit_cast<float>(magnitude);
  if (absolute >= kLargestE4m3) return sign | 0x7e;
  if (absolute < 0x1p-6f) {
    // Adding 2^14 leaves steps of 2^-9 in a float, and the sum is rounded ties to even.
    const float shifted = absolute + 0x1p14f;
    return sign | static_cast<std::uint8_t>(std::bit_cast<std::uint32_t>(shifted) & 0xffu);
  }
  const std::uint32_t rounded = magnitude + 0x7ffffu + (magnitude >> 20 & 1u);
  return sign | static_cast<std::uint8_t>(std::min((rounded >> 20) - ((127u - 7u) << 3), 0x7eu));
}

float from_e4m3(std::uint8_t bits) {
  const int exponent = bits >> 3 & 15;
  const int mantissa = bits & 7;
  const float sign = (bits & 0x80) != 0 ? -1.0f : 1.0f;
  if ((bits & 0x7f) == 0x7f) return std::nanf("");
  if (exponent == 0) return sign * static_cast<float>(mantissa) * 0x1p-9f;
  return sign * std::ldexp(1.0f + static_cast<float>(mantissa) / 8.0f, exponent - 7);
}

void quantise(std::int64_t rows, std::int64_t width, std::span<const float> x,
              std::span<std::uint8_t> values, std::span<float> scales) {
  check_sizes({{x.size(), rows * width},
               {values.size(), rows * width},
               {scales.size(), rows * blocks_of(width)}});
  std::size_t block = 0;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t begin = 0; begin < width; begin += kScaleBlock, ++block) {
      const std::int64_t count = std::min(kScaleBlock, width - begin);
      const float* in = x.data() + r * width + begin;
      std::uint8_t* out = values.data() + r * width + begin;
      float largest = 0;
      for (std::int64_t i = 0; i < count; ++i) largest = std::max(largest, std::fabs(in[i]));
      const float scale = largest > 0 ? largest / kLargestE4m3 : 1.0f;
      for (std::int64_t i = 0; i < count; ++i) out[i] = to_e4m3(in[i] / scale);
      scales[block] = scale;
    }
  }
}

}  // namespace sim::reference
