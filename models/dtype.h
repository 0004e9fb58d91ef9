// Number formats with their bytes per value, scales included.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace sim {

enum class DType { kFp32, kTf32, kBf16, kFp16, kFp8, kInt8, kMxfp4, kNvfp4, kInt4 };

std::string_view to_text(DType dtype);
std::optional<DType> parse_dtype(std::string_view text);
// fp8: 1 byte + 4 per 128 values along a row is left to the callers that store scales (see
// `bytes_per_value`'s source).
double bytes_per_value(DType dtype);

}  // namespace sim
