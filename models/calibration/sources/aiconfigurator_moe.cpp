// The fused MoE kernels of vLLM and SGLang (aiconfigurator, moe_perf).
#include "models/calibration/sources/aiconfigurator_moe.h"

#include <algorithm>
#include <array>

#include "models/calibration/sources/expert_readers.h"

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

// DeepSeek-V3's shape in formats whose kernels run the model's own gate: at one rank times are
// those of about 4 + 4 tokens experts, not of 8 tokens; on 64 ranks balanced rows take 14 times
// those of a like shape with as many rows, and power laws half of the balanced.
bool routed_by_its_own_gate(const MeasuredKernel& row) {
  const bool deepseek_v3 =
      row.experts.hidden == 7168 && row.routing.top_k == 8 && row.routing.experts == 256;
  const bool format = row.format.stored == DType::kNvfp4 ||
                      (row.format.stored == DType::kFp8 && row.format.block_scales);
  return deepseek_v3 && format;
}

}  // namespace

void read_aiconfigurator_moe(const KernelTable& table, const std::string& path,
                             std::vector<MeasuredKernel>& rows) {
  CsvFile file(path);
  const MoeColumns columns(file);
  for (std::int64_t number = 1; file.next(); ++number) {
    MeasuredKernel row = moe_row(table, file, columns, number);
    const auto named = std::find_if(kSources.begin(), kSources.end(), [&](const Named& each) {
      return each.in_table == file.text(columns.source);
    });
    if (named == kSources.end()) {
      file.fail(columns.source, "'" + std::string(file.text(columns.source)) +
                                    "' is not a kernel that this reader knows");
    }
    row.source = named->ours;
    const bool sglang = row.source.starts_with("sglang");
    if (row.routing.ranks > 1 && sglang) {
      mark(row, "choices of other ranks were sent to expert 0 and computed");
    } else if (row.routing.ranks > 1 && row.framework == "vllm 0.14.0") {
      mark(row, "ranks of an expert-parallel group: no form fits these rows");
    } else if (routed_by_its_own_gate(row)) {
      mark(row, "group-limited gating overrode the synthetic routing");
    }
    mark_beyond_the_data_sheet(row);
    rows.push_back(std::move(row));
  }
}

}  // namespace sim
