#include "models/calibration/table_names.h"

#include <algorithm>
#include <array>

namespace sim {
namespace {

// The collectors name the class of the framework; what runs is a kernel library. Kernels of one
// library in two frameworks keep two names: the wrapping differs.
struct Named {
  std::string_view in_table;
  std::string_view ours;
};
constexpr std::array kSources = {
    Named{"sglang_fused_moe_triton", "sglang-triton"},
    Named{"sglang_marlin_moe", "sglang-marlin"},
    Named{"sglang_marlin_moe_situ_as_silu", "sglang-marlin"},
    Named{"sglang_flashinfer_cutlass_moe", "sglang-cutlass"},
    Named{"deepepmoe", "deepgemm"},
    Named{"wideep_compute_cutlass", "trtllm-cutlass"},
    Named{"vllm_fused_moe", "vllm-triton"},
    Named{"vllm_unquantizedfusedmoe_triton_tritonexperts", "vllm-triton"},
    Named{"vllm_fp8moe_triton_tritonexperts", "vllm-triton"},
    Named{"vllm_gptossmxfp4moe_triton_oaitritonmxfp4expertsmonolithic", "vllm-triton-kernels"},
    Named{"vllm_fp8moe_flashinfer_cutlass_flashinferexperts", "vllm-cutlass"},
    Named{"vllm_modeloptfp8moe_flashinfer_cutlass_flashinferexperts", "vllm-cutlass"},
    Named{"vllm_unquantizedfusedmoe_flashinfer_cutlass_flashinferexperts", "vllm-cutlass"},
    Named{"vllm_compressedtensorsw4a4nvfp4moe_flashinfer_cutlass_flashinferexperts",
          "vllm-cutlass"},
    Named{"vllm_compressedtensorswna16marlinmoe_marlin_marlinexperts", "vllm-marlin"},
    Named{"vllm_compressedtensorsw4a4mxfp4moe_marlin_marlinexperts", "vllm-marlin"},
    Named{"vllm_compressedtensorsw4a4mxfp4moe_marlin_marlinexperts_situ_as_silu", "vllm-marlin"},
    Named{"vllm_fp8moe_flashinfer_trtllm_trtllmfp8expertsmonolithic", "vllm-trtllm-gen"},
    Named{"vllm_fp8moe_flashinfer_trtllm_trtllmfp8expertsmodular", "vllm-trtllm-gen-modular"},
    Named{"vllm_modeloptfp8moe_flashinfer_trtllm_trtllmfp8expertsmonolithic", "vllm-trtllm-gen"},
    Named{"vllm_unquantizedfusedmoe_flashinfer_trtllm_trtllmbf16experts", "vllm-trtllm-gen"},
    Named{"vllm_compressedtensorsw4a4nvfp4moe_flashinfer_trtllm_trtllmnvfp4expertsmonolithic",
          "vllm-trtllm-gen"},
    Named{"vllm_compressedtensorsw4a4nvfp4moe_flashinfer_trtllm_trtllmnvfp4expertsmodular",
          "vllm-trtllm-gen-modular"},
    Named{"vllm_gptossmxfp4moe_flashinfer_trtllm_mxfp4_bf16_trtllmmxfp4expertsmonolithic",
          "vllm-trtllm-gen"},
    Named{"vllm_mxfp4moe_flashinfer_trtllm_mxfp4_mxfp8_trtllmmxfp4expertsmodular",
          "vllm-trtllm-gen-modular"},
};

}  // namespace

std::string_view kernel_of_table_name(std::string_view in_table) {
  const auto named = std::find_if(kSources.begin(), kSources.end(),
                                  [&](const Named& each) { return each.in_table == in_table; });
  return named == kSources.end() ? std::string_view() : named->ours;
}

}  // namespace sim
