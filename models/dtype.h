// Number formats with their bytes per value, and how a weight matrix of one lies in memory.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "sim/core/units.h"

namespace sim {

enum class DType { kFp32, kTf32, kBf16, kFp16, kFp8, kInt8, kMxfp4, kNvfp4, kInt4 };

std::string_view to_text(DType dtype);
std::optional<DType> parse_dtype(std::string_view text);

// Bytes per value with the scales of the format's usual block along a row: mxfp4 1 byte per 32
// values, nvfp4 1 per 16 (OCP MX v1.0; NVIDIA), int4 2 per 128 (GPTQ, AWQ). fp8 is 1: its scales
// (4 bytes per 128 values of an activation, per 128x128 block of a weight) are for the callers that
// store them.
double bytes_per_value(DType dtype);

// A weight matrix in memory: packed values, and one scale per block of rows x columns (no scales
// when scale_bytes is 0).
struct WeightFormat {
  DType dtype = DType::kBf16;
  std::int64_t block_rows = 1;
  std::int64_t block_columns = 1;
  std::int64_t scale_bytes = 0;
  bool operator==(const WeightFormat&) const = default;
};

// The usual scales of a format: fp8 4 bytes per 128x128 (DeepSeek-V3), mxfp4, nvfp4 and int4 as in
// bytes_per_value, the others none.
WeightFormat usual_format(DType dtype);

// Bytes of a rows x columns matrix, scales included; blocks at the edge count whole.
Bytes stored_bytes(const WeightFormat& format, std::int64_t rows, std::int64_t columns);

}  // namespace sim
