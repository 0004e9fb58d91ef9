// Tables of measured expert layers.
#include "models/calibration/sources/expert_readers.h"

namespace sim {
namespace {

constexpr std::string_view kAiconfigurator = "ai-dynamo/aiconfigurator @ 095f58a51c4c";

constexpr std::string_view kInferSim = "alibaba/InferSim @ f2293dab6d23";
constexpr std::string_view kDeepGemm = "deepseek-ai/DeepGEMM, README.md";
constexpr std::string_view kFrontier = "NetX-lab/Frontier @ a4b22df82118";

#define RECORDS "papers/ground_truth/"
#define AIC "data/kernels/aiconfigurator/"
constexpr KernelTable kTables[] = {
    {"aic-a100-sglang-moe", AIC "a100_sxm__moe__sglang__0.5.10__moe_perf.csv.gz", kAiconfigurator,
     "a100-sxm-80gb", &read_aiconfigurator_moe},
    {"aic-a100-vllm-moe", AIC "a100_sxm__moe__vllm__0.14.0__moe_perf.csv.gz", kAiconfigurator,
     "a100-sxm-80gb", &read_aiconfigurator_moe},
    {"aic-b200-vllm-moe", AIC "b200_sxm__moe__vllm__0.24.0__moe_perf.csv.gz", kAiconfigurator,
     "b200-sxm", &read_aiconfigurator_moe},
    {"aic-h100-sglang-moe", AIC "h100_sxm__moe__sglang__0.5.14__moe_perf.csv.gz", kAiconfigurator,
     "h100-sxm", &read_aiconfigurator_moe},
    {"aic-h100-vllm-moe", AIC "h100_sxm__moe__vllm__0.24.0__moe_perf.csv.gz", kAiconfigurator,
     "h100-sxm", &read_aiconfigurator_moe},
    {"aic-h100-deepep-decode",
     AIC "h100_sxm__moe__sglang__0.5.10__wideep_generation_moe_perf.csv.gz", kAiconfigurator,
     "h100-sxm", &read_aiconfigurator_wide_ep},
    {"aic-h100-deepep-prefill", AIC "h100_sxm__moe__sglang__0.5.10__wideep_context_moe_perf.csv.gz",
     kAiconfigurator, "h100-sxm", &read_aiconfigurator_wide_ep},
    {"aic-h100-trtllm-moe", AIC "h100_sxm__moe__trtllm__1.3.0rc10__wideep_moe_perf.csv.gz",
     kAiconfigurator, "h100-sxm", &read_aiconfigurator_trtllm_moe},
    {"aic/aic_moe_generation_skew_b200_sxm", RECORDS "aiconfigurator_moe_skew.yaml",
     kAiconfigurator, "b200-sxm", &read_aiconfigurator_skew},
    {"aic/aic_moe_context_skew_b200_sxm", RECORDS "aiconfigurator_moe_skew.yaml", kAiconfigurator,
     "b200-sxm", &read_aiconfigurator_skew},
    {"infersim-h800-grouped-decode", "data/kernels/infersim/grouped_gemm__decode__h800__data.csv",
     kInferSim, "h800-sxm", &read_infersim_grouped},
    {"infersim-h800-grouped-prefill", "data/kernels/infersim/grouped_gemm__prefill__h800__data.csv",
     kInferSim, "h800-sxm", &read_infersim_grouped},
    {"deepgemm/deepgemm_grouped_contiguous_2025_02", RECORDS "deepgemm.yaml", kDeepGemm, "h800-sxm",
     &read_deepgemm_grouped},
    {"deepgemm/deepgemm_grouped_contiguous_2025_03", RECORDS "deepgemm.yaml", kDeepGemm, "h800-sxm",
     &read_deepgemm_grouped},
    {"frontier-a100-mixtral", "data/kernels/frontier/a100__mixtral_8x7b_moe__moe.csv.gz", kFrontier,
     "a100-sxm-80gb", &read_frontier_moe},
    // A800 is A100 with its links cut.
    {"frontier-a800-qwen3", "data/kernels/frontier/a800__qwen3-a3b-30b-moe__moe.csv.gz", kFrontier,
     "a100-sxm-80gb", &read_frontier_moe},
    {"frontier-h800-phi-tiny", "data/kernels/frontier/h800__Phi-tiny-MoE-instruct__moe.csv.gz",
     kFrontier, "h800-sxm", &read_frontier_moe},
    {"frontier-h800-qwen3", "data/kernels/frontier/h800__Qwen3-30B-A3B-tiny__moe.csv.gz", kFrontier,
     "h800-sxm", &read_frontier_moe},
    {"frontier-h800-qwen3-next",
     "data/kernels/frontier/h800__qwen3-next-80b-a3b-instruct-reduced-l2__moe.csv.gz", kFrontier,
     "h800-sxm", &read_frontier_moe},
};
#undef AIC
#undef RECORDS

}  // namespace

std::span<const KernelTable> expert_tables() { return kTables; }

}  // namespace sim
