#include "models/dtype.h"

#include <array>
#include <cmath>
#include <utility>

#include "sim/core/error.h"

namespace sim {

namespace {

constexpr std::array<std::pair<DType, std::string_view>, 9> kNames = {{{DType::kFp32, "fp32"},
                                                                       {DType::kTf32, "tf32"},
                                                                       {DType::kBf16, "bf16"},
                                                                       {DType::kFp16, "fp16"},
                                                                       {DType::kFp8, "fp8"},
                                                                       {DType::kInt8, "int8"},
                                                                       {DType::kMxfp4, "mxfp4"},
                                                                       {DType::kNvfp4, "nvfp4"},
                                                                       {DType::kInt4, "int4"}}};

std::int64_t bits(DType dtype) {
  switch (dtype) {
    case DType::kFp32:
    case DType::kTf32:
      return 32;
    case DType::kBf16:
    case DType::kFp16:
      return 16;
    case DType::kFp8:
    case DType::kInt8:
      return 8;
    case DType::kMxfp4:
    case DType::kNvfp4:
    case DType::kInt4:
      return 4;
  }
  SIM_CHECK(false, "every format has a width");
}

std::int64_t blocks(std::int64_t extent, std::int64_t block) {
  return (extent + block - 1) / block;
}

}  // namespace

std::string_view to_text(DType dtype) {
  for (const auto& [value, name] : kNames) {
    if (value == dtype) return name;
  }
  SIM_CHECK(false, "every format has a name");
}

std::optional<DType> parse_dtype(std::string_view text) {
  for (const auto& [value, name] : kNames) {
    if (name == text) return value;
  }
  return std::nullopt;
}

double bytes_per_value(DType dtype) {
  const double values = static_cast<double>(bits(dtype)) / 8;
  switch (dtype) {
    case DType::kMxfp4:
      return values + 1.0 / 32;
    case DType::kNvfp4:
      return values + 1.0 / 16;
    case DType::kInt4:
      return values + 2.0 / 128;
    default:
      return values;
  }
}

WeightFormat usual_format(DType dtype) {
  switch (dtype) {
    case DType::kFp8:
      return {dtype, 128, 128, 4};
    case DType::kMxfp4:
      return {dtype, 1, 32, 1};
    case DType::kNvfp4:
      return {dtype, 1, 16, 1};
    case DType::kInt4:
      return {dtype, 1, 128, 2};
    default:
      return {dtype, 1, 1, 0};
  }
}

Bytes stored_bytes(const WeightFormat& format, std::int64_t rows, std::int64_t columns) {
  SIM_CHECK(rows >= 0 && columns >= 0 && format.block_rows > 0 && format.block_columns > 0,
            "sizes were checked when the model was read");
  const std::int64_t values = (rows * columns * bits(format.dtype) + 7) / 8;
  const std::int64_t scales = format.scale_bytes == 0 ? 0
                                                      : blocks(rows, format.block_rows) *
                                                            blocks(columns, format.block_columns);
  return Bytes(values + scales * format.scale_bytes);
}

}  // namespace sim
