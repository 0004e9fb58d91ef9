// bfloat16 and fp8 (e4m3) as the kernels hold them, with conversions that give the same bits on the
// device and on the host: round to nearest, ties to even; e4m3 saturates at 448 and has no infinity
// (OCP 8-bit floating point, OFP8 1.0, section 5).
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#ifdef __CUDACC__
#include <cuda_bf16.h>
#include <cuda_fp8.h>
#define MOE_BOTH __host__ __device__ inline
#else
#define MOE_BOTH inline
#endif

namespace sim::device_code {

struct Bf16 {
  std::uint16_t bits;
};
struct Fp8 {
  std::uint8_t bits;
};
constexpr float kFp8Max = 448.0F;

MOE_BOTH float to_float(Bf16 value) {
  const std::uint32_t bits = static_cast<std::uint32_t>(value.bits) << 16U;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}

MOE_BOTH Bf16 to_bf16(float value) {
#ifdef __CUDA_ARCH__
  return Bf16{__bfloat16_as_ushort(__float2bfloat16_rn(value))};
#else
  std::uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffffU) > 0x7f800000U) return Bf16{0x7fff};  // NaN
  return Bf16{static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16U) & 1U)) >> 16U)};
#endif
}

MOE_BOTH float to_float(Fp8 value) {
#ifdef __CUDA_ARCH__
  const __half_raw half = __nv_cvt_fp8_to_halfraw(value.bits, __NV_E4M3);
  return __half2float(__half(half));
#else
  const int exponent = (value.bits >> 3U) & 15;
  const int mantissa = value.bits & 7;
  float magnitude;
  if (exponent == 15 && mantissa == 7)
    magnitude = NAN;
  else if (exponent == 0)
    magnitude = std::ldexp(static_cast<float>(mantissa), -9);
  else
    magnitude = std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
  return (value.bits & 0x80U) != 0 ? -magnitude : magnitude;
#endif
}

MOE_BOTH Fp8 to_fp8(float value) {
#ifdef __CUDA_ARCH__
  return Fp8{static_cast<std::uint8_t>(__nv_cvt_float_to_fp8(value, __NV_SATFINITE, __NV_E4M3))};
#else
  const std::uint8_t sign = std::signbit(value) ? 0x80 : 0;
  if (std::isnan(value)) return Fp8{static_cast<std::uint8_t>(sign | 0x7f)};
  const float magnitude = std::fabs(value);
  if (magnitude >= kFp8Max) return Fp8{static_cast<std::uint8_t>(sign | 0x7e)};
  if (magnitude == 0) return Fp8{sign};
  int exponent = 0;
  std::frexp(magnitude, &exponent);  // magnitude = f * 2^exponent, f in [0.5, 1)
  const int step = exponent - 4 > -9 ? exponent - 4 : -9;  // weight of the last bit of the mantissa
  const auto units = static_cast<int>(std::nearbyint(std::ldexp(magnitude, -step)));  // 0..16
  // Units run on from exponent to exponent, so a carry out of the mantissa lands right.
  return Fp8{static_cast<std::uint8_t>(sign | (units + ((step + 9) << 3U)))};
#endif
}

}  // namespace sim::device_code
