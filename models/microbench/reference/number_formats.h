// Rounding of float to the short formats of GPUs, and quantisation by blocks.
#pragma once

#include <cstdint>
#include <span>

namespace sim::reference {

// bfloat16: the upper 16 bits of a float, rounded to the nearest, ties to even. NaN stays NaN.
std::uint16_t to_bf16(float value);
float from_bf16(std::uint16_t bits);

// fp8 e4m3 without infinities (OCP OFP8, 2023): 4 bits of exponent with bias 7, 3 of mantissa,
// largest 448, 0x7f is NaN. Rounded to the nearest, ties to even; saturates at 448.
inline constexpr float kLargestE4m3 = 448.0f;
std::uint8_t to_e4m3(float value);
float from_e4m3(std::uint8_t bits);

// Values of a row that share a scale, as DeepSeek-V3 quantises activations.
inline constexpr std::int64_t kScaleBlock = 128;
inline std::int64_t blocks_of(std::int64_t width) {
  return (width + kScaleBlock - 1) / kScaleBlock;
}

// values[rows][width], scales[rows][blocks_of(width)]: scale = largest |x| of the block / 448 (1
// for a block of zeros), value = e4m3(x / scale); x is about from_e4m3(value) * scale.
void quantise(std::int64_t rows, std::int64_t width, std::span<const float> x,
              std::span<std::uint8_t> values, std::span<float> scales);

}  // namespace sim::reference
