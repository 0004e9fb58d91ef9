// Tables of measured GEMM, attention, MLA and streaming kernels.
#include <array>

#include "models/calibration/measured_kernel.h"
#include "models/calibration/sources/dense_readers.h"

namespace sim {
namespace {

constexpr std::string_view kAiconfigurator =
    "ai-dynamo/aiconfigurator, commit 095f58a, systems/data (Apache-2.0)";
constexpr std::string_view kInferSim = "alibaba/InferSim, commit f2293da, bench_data (Apache-2.0)";

constexpr std::string_view kLlmServingSim =
    "casys-kaist/LLMServingSim, commit 5daddb2, vLLM 0.19 on RTX PRO 6000 (MIT)";
constexpr std::string_view kDeepGemm = "deepseek-ai/DeepGEMM, README.md (H800), as published";

constexpr std::array kTables = {
    KernelTable{"aic-h100-vllm-gemm",
                "data/kernels/aiconfigurator/h100_sxm__gemm__vllm__0.24.0__gemm_perf.csv.gz",
                kAiconfigurator, "h100-sxm", read_aiconfigurator_gemm},
    KernelTable{"aic-h100-vllm-attention-decode",
                "data/kernels/aiconfigurator/"
                "h100_sxm__attention__vllm__0.24.0__generation_attention_perf.csv.gz",
                kAiconfigurator, "h100-sxm", read_aiconfigurator_attention_decode},
    KernelTable{"aic-h100-vllm-attention-prefill",
                "data/kernels/aiconfigurator/"
                "h100_sxm__attention__vllm__0.24.0__context_attention_perf.csv.gz",
                kAiconfigurator, "h100-sxm", read_aiconfigurator_attention_prefill},
    KernelTable{
        "aic-h100-vllm-mla-decode",
        "data/kernels/aiconfigurator/h100_sxm__mla__vllm__0.14.0__generation_mla_perf.csv.gz",
        kAiconfigurator, "h100-sxm", read_aiconfigurator_mla_decode},
    KernelTable{"aic-h100-vllm-mla-prefill",
                "data/kernels/aiconfigurator/h100_sxm__mla__vllm__0.14.0__context_mla_perf.csv.gz",
                kAiconfigurator, "h100-sxm", read_aiconfigurator_mla_prefill},
    KernelTable{"infersim-h800-gemm", "data/kernels/infersim/gemm__h800__data.csv", kInferSim,
                "h800-sxm", read_infersim_gemm},
    KernelTable{"infersim-h20-gemm", "data/kernels/infersim/gemm__h20__data.csv", kInferSim, "h20",
                read_infersim_gemm},
    KernelTable{"infersim-h800-attention-decode-128-2-128",
                "data/kernels/infersim/mha__decode__h800__128-2-128.csv", kInferSim, "h800-sxm",
                read_infersim_attention_decode},
    KernelTable{"infersim-h800-attention-decode-16-2-128",
                "data/kernels/infersim/mha__decode__h800__16-2-128.csv", kInferSim, "h800-sxm",
                read_infersim_attention_decode},
    KernelTable{"infersim-h800-attention-decode-256-2-128",
                "data/kernels/infersim/mha__decode__h800__256-2-128.csv", kInferSim, "h800-sxm",
                read_infersim_attention_decode},
    KernelTable{"infersim-h800-attention-decode-32-2-128",
                "data/kernels/infersim/mha__decode__h800__32-2-128.csv", kInferSim, "h800-sxm",
                read_infersim_attention_decode},
    KernelTable{"infersim-h800-attention-decode-32-4-128",
                "data/kernels/infersim/mha__decode__h800__32-4-128.csv", kInferSim, "h800-sxm",
                read_infersim_attention_decode},
    KernelTable{"infersim-h800-attention-decode-32-8-128",
                "data/kernels/infersim/mha__decode__h800__32-8-128.csv", kInferSim, "h800-sxm",
                read_infersim_attention_decode},
    KernelTable{"infersim-h800-attention-decode-64-2-128",
                "data/kernels/infersim/mha__decode__h800__64-2-128.csv", kInferSim, "h800-sxm",
                read_infersim_attention_decode},
    KernelTable{"infersim-h20-attention-decode-128-2-128",
                "data/kernels/infersim/mha__decode__h20__128-2-128.csv", kInferSim, "h20",
                read_infersim_attention_decode},
    KernelTable{"infersim-h20-attention-decode-16-1-256",
                "data/kernels/infersim/mha__decode__h20__16-1-256.csv", kInferSim, "h20",
                read_infersim_attention_decode},
    KernelTable{"infersim-h20-attention-decode-16-2-128",
                "data/kernels/infersim/mha__decode__h20__16-2-128.csv", kInferSim, "h20",
                read_infersim_attention_decode},
    KernelTable{"infersim-h20-attention-decode-16-2-256",
                "data/kernels/infersim/mha__decode__h20__16-2-256.csv", kInferSim, "h20",
                read_infersim_attention_decode},
    KernelTable{"infersim-h20-attention-decode-256-2-128",
                "data/kernels/infersim/mha__decode__h20__256-2-128.csv", kInferSim, "h20",
                read_infersim_attention_decode},
    KernelTable{"infersim-h20-attention-decode-32-2-128",
                "data/kernels/infersim/mha__decode__h20__32-2-128.csv", kInferSim, "h20",
                read_infersim_attention_decode},
    KernelTable{"infersim-h20-attention-decode-32-4-128",
                "data/kernels/infersim/mha__decode__h20__32-4-128.csv", kInferSim, "h20",
                read_infersim_attention_decode},
    KernelTable{"infersim-h20-attention-decode-32-8-128",
                "data/kernels/infersim/mha__decode__h20__32-8-128.csv", kInferSim, "h20",
                read_infersim_attention_decode},
    // mha__decode__h20__64-2-128.csv has no line of column names and is left out.
    KernelTable{"infersim-h20-attention-prefill-16-1-256",
                "data/kernels/infersim/mha__prefill__h20__16-1-256.csv", kInferSim, "h20",
                read_infersim_attention_prefill},
    KernelTable{"infersim-h20-attention-prefill-16-2-256",
                "data/kernels/infersim/mha__prefill__h20__16-2-256.csv", kInferSim, "h20",
                read_infersim_attention_prefill},
    KernelTable{"infersim-h20-attention-prefill-32-4-128",
                "data/kernels/infersim/mha__prefill__h20__32-4-128.csv", kInferSim, "h20",
                read_infersim_attention_prefill},
    KernelTable{"infersim-h20-attention-prefill-32-8-128",
                "data/kernels/infersim/mha__prefill__h20__32-8-128.csv", kInferSim, "h20",
                read_infersim_attention_prefill},
    KernelTable{"infersim-h20-attention-prefill-64-8-128",
                "data/kernels/infersim/mha__prefill__h20__64-8-128.csv", kInferSim, "h20",
                read_infersim_attention_prefill},
    KernelTable{"infersim-h800-mla-decode-128-512-64",
                "data/kernels/infersim/mla__decode__h800__128-512-64.csv", kInferSim, "h800-sxm",
                read_infersim_mla_decode},
    KernelTable{"infersim-h20-mla-decode-128-512-64",
                "data/kernels/infersim/mla__decode__h20__128-512-64.csv", kInferSim, "h20",
                read_infersim_mla_decode},
    KernelTable{"infersim-h800-mla-prefill-128-128-64",
                "data/kernels/infersim/mla__prefill__h800__128-128-64.csv", kInferSim, "h800-sxm",
                read_infersim_mla_prefill},
    KernelTable{"llmservingsim-rtxpro6000-dense",
                "data/kernels/llmservingsim/rtxpro6000__qwen3-30b-a3b__tp1__dense.csv",
                kLlmServingSim, "rtx-pro-6000", read_llmservingsim_qwen},
    KernelTable{"llmservingsim-rtxpro6000-sequences",
                "data/kernels/llmservingsim/rtxpro6000__qwen3-30b-a3b__tp1__per_sequence.csv",
                kLlmServingSim, "rtx-pro-6000", read_llmservingsim_sequences},
    KernelTable{"llmservingsim-rtxpro6000-attention",
                "data/kernels/llmservingsim/rtxpro6000__qwen3-30b-a3b__tp1__attention.csv.gz",
                kLlmServingSim, "rtx-pro-6000", read_llmservingsim_attention},
    KernelTable{"deepgemm/deepgemm_dense_2025_02", "papers/ground_truth/deepgemm.yaml", kDeepGemm,
                "h800-sxm", read_deepgemm_published},
    KernelTable{"deepgemm/deepgemm_dense_2025_03", "papers/ground_truth/deepgemm.yaml", kDeepGemm,
                "h800-sxm", read_deepgemm_published},
};

}  // namespace

std::span<const KernelTable> dense_tables() { return kTables; }

}  // namespace sim
