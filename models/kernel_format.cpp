#include "models/kernel_format.h"

#include <algorithm>
#include <array>

namespace sim {
namespace {

struct Named {
  std::string_view name;
  KernelFormat format;
};
constexpr std::array kFormats = {
    Named{"bf16", {DType::kBf16, DType::kBf16, false}},
    Named{"fp16", {DType::kFp16, DType::kFp16, false}},
    Named{"fp32", {DType::kFp32, DType::kFp32, false}},
    Named{"fp8", {DType::kFp8, DType::kFp8, false}},
    Named{"fp8_block", {DType::kFp8, DType::kFp8, true}},
    Named{"int8", {DType::kInt8, DType::kInt8, false}},
    Named{"int4_wo", {DType::kInt4, DType::kBf16, false}},
    Named{"w4a16_mxfp4", {DType::kMxfp4, DType::kBf16, false}},
    Named{"w4a8_mxfp4_mxfp8", {DType::kMxfp4, DType::kFp8, true}},
    Named{"mxfp4", {DType::kMxfp4, DType::kMxfp4, false}},
    Named{"nvfp4", {DType::kNvfp4, DType::kNvfp4, false}},
    Named{"fp8_kv", {DType::kFp8, DType::kBf16, false}},  // attention over an fp8 cache
};
struct Alias {
  std::string_view text;
  std::string_view name;
};
constexpr std::array kAliases = {
    Alias{"bfloat16", "bf16"},
    Alias{"float16", "fp16"},
    Alias{"half", "fp16"},
    Alias{"float32", "fp32"},
    Alias{"float", "fp32"},
    Alias{"fp8-block", "fp8_block"},
    Alias{"fp8_e4m3", "fp8"},
    Alias{"int4", "int4_wo"},
    Alias{"mxfp4_bf16", "w4a16_mxfp4"},
    Alias{"mxfp4_mxfp8", "w4a8_mxfp4_mxfp8"},
};

}  // namespace

std::string_view to_text(const KernelFormat& format) {
  for (const Named& each : kFormats) {
    if (each.format == format) return each.name;
  }
  return "mixed";
}

std::optional<KernelFormat> parse_kernel_format(std::string_view text) {
  for (const Alias& alias : kAliases) {
    if (alias.text == text) text = alias.name;
  }
  const auto found = std::find_if(kFormats.begin(), kFormats.end(),
                                  [&](const Named& each) { return each.name == text; });
  if (found == kFormats.end()) return std::nullopt;
  return found->format;
}

std::vector<std::string> kernel_format_names() {
  std::vector<std::string> names;
  for (const Named& each : kFormats) names.emplace_back(each.name);
  return names;
}

bool weight_only(const KernelFormat& format) {
  return bytes_per_value(format.stored) < 1 && bytes_per_value(format.multiplied) >= 2;
}

}  // namespace sim
