// What a matrix kernel stores, multiplies and scales: "fp8_block" and "fp8" are different kernels,
// and so are int4 weights on bf16 tensor cores.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/dtype.h"

namespace sim {

struct KernelFormat {
  DType stored = DType::kBf16;
  DType multiplied = DType::kBf16;
  bool block_scales = false;  // fp8 with a scale per 128 values, against one per tensor
  bool operator==(const KernelFormat&) const = default;
};

// Names as the aiconfigurator tables write them: bf16, fp16, fp32, fp8, fp8_block, int4_wo,
// w4a16_mxfp4, w4a8_mxfp4_mxfp8, nvfp4; fp8_kv is attention over an fp8 cache. Reading takes the
// spellings of other tables too
// ("bfloat16", "fp8-block", "int4", "mxfp4").
std::string_view to_text(const KernelFormat& format);
std::optional<KernelFormat> parse_kernel_format(std::string_view text);
std::vector<std::string> kernel_format_names();

// Weights alone are narrow: they are widened by instructions on their way to the tensor cores,
// which bound the kernel before memory does.
bool weight_only(const KernelFormat& format);

}  // namespace sim
