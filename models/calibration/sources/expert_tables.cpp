// Tables of measured expert layers.
#include "models/calibration/sources/expert_readers.h"

namespace sim {
namespace {

constexpr std::string_view kAiconfigurator = "ai-dynamo/aiconfigurator @ 095f58a51c4c";

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
};
#undef AIC

}  // namespace

std::span<const KernelTable> expert_tables() { return kTables; }

}  // namespace sim
