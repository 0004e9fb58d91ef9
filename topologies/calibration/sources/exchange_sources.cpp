// Tables of measured dispatch and combine.
#include "topologies/calibration/sources/exchange_readers.h"

namespace sim {
namespace {

constexpr std::string_view kAiconfigurator = "ai-dynamo/aiconfigurator @ 095f58a51c4c";
constexpr std::string_view kDeepEp = "deepseek-ai/DeepEP, README.md";
constexpr std::string_view kHybridEp = "deepseek-ai/DeepEP, branch hybrid-ep @ 94a9f8f6b146";
constexpr std::string_view kBlog18 = "NVIDIA/TensorRT-LLM @ 22de8b34df71, tech blog 18";
constexpr std::string_view kGarden = "perplexityai/pplx-garden @ 244600375fe9, docs/fabric-lib.md";
constexpr std::string_view kAws = "awslabs/awsome-distributed-ai @ 95b939cdc5b2";
constexpr std::string_view kUccl = "uccl-project/uccl @ da914a2054c2, ep/README.md";

#define AIC "data/collectives/aiconfigurator/"
#define RECORDS "papers/ground_truth/"
constexpr MeasuredSource kSources[] = {
    // H100 and H200 ship the same numbers; both say sglang 0.5.0 in their rows.
    {"aic-deepep-ll-h100-nodes",
     AIC "h100_sxm__comm__sglang__0.5.6.post2__wideep_deepep_ll_perf.nodes1-2-4.csv.gz",
     kAiconfigurator, "hgx-h100", "deepep", &read_aiconfigurator_low_latency},
    {"aic-deepep-normal-h100-nodes",
     AIC "h100_sxm__comm__sglang__0.5.6.post2__wideep_deepep_normal_perf.nodes1-2-4.csv.gz",
     kAiconfigurator, "hgx-h100", "deepep", &read_aiconfigurator_normal},
    {"aic-deepep-ll-h100", AIC "h100_sxm__comm__sglang__0.5.12__wideep_deepep_ll_perf.csv.gz",
     kAiconfigurator, "hgx-h100", "deepep", &read_aiconfigurator_low_latency},
    {"aic-deepep-normal-h100",
     AIC "h100_sxm__comm__sglang__0.5.12__wideep_deepep_normal_perf.csv.gz", kAiconfigurator,
     "hgx-h100", "deepep", &read_aiconfigurator_normal},
    {"aic-deepep-normal-b200",
     AIC "b200_sxm__comm__sglang__0.5.12__wideep_deepep_normal_perf.csv.gz", kAiconfigurator,
     "hgx-b200", "deepep", &read_aiconfigurator_normal},
    {"aic/aic_deepep_ll_1node_b200_sxm", RECORDS "aiconfigurator_deepep.yaml", kAiconfigurator,
     "hgx-b200", "deepep", &read_aiconfigurator_low_latency_record},
    {"aic-trtllm-gb200", AIC "gb200__comm__trtllm__1.3.0rc10__trtllm_alltoall_perf.csv.gz",
     kAiconfigurator, "gb200-nvl72", "tensorrt-llm", &read_aiconfigurator_trtllm},
    {"trtllm/trtllm_nvlink_onesided_gb200_bf16", RECORDS "ep_comm_other.yaml", kBlog18,
     "gb200-nvl72", "tensorrt-llm", &read_trtllm_blog},
    {"trtllm/trtllm_nvlink_onesided_quant_dispatch", RECORDS "ep_comm_other.yaml", kBlog18,
     "gb200-nvl72", "tensorrt-llm", &read_trtllm_quantised},
    {"deepep/deepep_v1_normal_2025_02_24", RECORDS "deepep.yaml", kDeepEp, "hgx-h800", "deepep",
     &read_deepep_v1_normal},
    {"deepep/deepep_v1_normal_2025_04_21_transient", RECORDS "deepep.yaml", kDeepEp, "hgx-h800",
     "deepep", &read_deepep_v1_normal},
    {"deepep/deepep_v1_normal_final", RECORDS "deepep.yaml", kDeepEp, "hgx-h800", "deepep",
     &read_deepep_v1_normal},
    {"deepep/deepep_v1_low_latency_2025_02_24", RECORDS "deepep.yaml", kDeepEp, "hgx-h800",
     "deepep", &read_deepep_v1_low_latency},
    {"deepep/deepep_v1_low_latency_2025_06_05", RECORDS "deepep.yaml", kDeepEp, "hgx-h800",
     "deepep", &read_deepep_v1_low_latency},
    {"deepep/deepep_v2_normal", RECORDS "deepep.yaml", kDeepEp, "hgx-h100", "deepep",
     &read_deepep_v2},
    {"deepep/hybridep_h100", RECORDS "deepep.yaml", kHybridEp, "hgx-h100", "hybrid-ep",
     &read_hybrid_ep_h100},
    {"deepep/hybridep_b200_vs_deepep", RECORDS "deepep.yaml", kHybridEp, "hgx-b200", "hybrid-ep",
     &read_hybrid_ep_b200},
    {"pplx/pplx_fabric_lib_decode", RECORDS "aws_efa_moe.yaml", kGarden, "p5en", "pplx-garden",
     &read_pplx_garden},
    {"pplx/pplx_fabric_lib_prefill", RECORDS "aws_efa_moe.yaml", kGarden, "p5en", "pplx-garden",
     &read_pplx_garden},
    {"aws/aws_pplx_garden_rerun", RECORDS "aws_efa_moe.yaml", kAws, "p5en", "pplx-garden",
     &read_pplx_garden},
    {"pplx/pplx_kernels_128tok", RECORDS "ep_comm_other.yaml",
     "ppl-ai/pplx-kernels @ 12cecfda252e, README.md", "hgx-h100", "pplx-kernels",
     &read_pplx_kernels},
    {"uccl/uccl_ep_low_latency_amd_mi300x_with_cx7_infiniband", RECORDS "ep_comm_other.yaml", kUccl,
     "mi300x-cx7", "uccl-ep", &read_uccl_low_latency},
    {"uccl/uccl_ep_low_latency_on_p6_b200", RECORDS "ep_comm_other.yaml", kUccl, "p6-b200",
     "uccl-ep", &read_uccl_low_latency},
    {"uccl/uccl_ep_low_latency_on_p5en", RECORDS "ep_comm_other.yaml", kUccl, "p5en", "uccl-ep",
     &read_uccl_low_latency},
    {"uccl/uccl_ep_normal_on_p6_b200", RECORDS "ep_comm_other.yaml", kUccl, "p6-b200", "uccl-ep",
     &read_uccl_normal},
    {"uccl/uccl_ep_normal_on_amd_mi300x_with_cx7_infiniband", RECORDS "ep_comm_other.yaml", kUccl,
     "mi300x-cx7", "uccl-ep", &read_uccl_normal},
    {"uccl/uccl_ep_normal_on_amd_mi355x_with_pollara_ai_nic_infiniband",
     RECORDS "ep_comm_other.yaml", kUccl, "mi355x-ainic", "uccl-ep", &read_uccl_normal},
    {"mori/mori_ep_bandwidth", RECORDS "ep_comm_other.yaml", "ROCm/mori @ 624002c897a3, README.md",
     "mi300x-cx7", "mori", &read_mori},
    {"aws/aws_ep_fanout_scaling_b300", RECORDS "aws_efa_moe.yaml", kAws, "p6-b300", "",
     &read_efa_fan_out},
};
#undef AIC
#undef RECORDS

}  // namespace

std::span<const MeasuredSource> exchange_sources() { return kSources; }

}  // namespace sim
