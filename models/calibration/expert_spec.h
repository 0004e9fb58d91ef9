// What to fit to which measured expert layers: one file of specs/ per device.
//
//   kernel: expert_ffn
//   device: h100-sxm                          # data-sheet rates, and where the constants are kept
//   cite: "ai-dynamo/aiconfigurator @ 095f58a51c4c"
//   free: [start, compute_share, memory_share]        # of models/costs/grouped_gemm_form.cpp
//   kernels:                                  # the first of a format is what a run takes by itself
//   - source: vllm-triton                     # MeasuredKernel::source, and the name of the
//   constants
//     also: [vllm_fused_moe]
//     format: bf16
//     tables: [aic-h100-vllm-moe]
//     fixed: {remote: 0}                      # SI units; beside the top's
//     covers: [permute_quantise]
//     instead: {start: 2e-5}                  # kept in place of the fitted value, with the reason
//     because: "..."
//     range: {hidden: [2048, 8192]}           # in place of the rows' own extents
//     corrections: [[7168, 2048]]             # hidden and inter whose table of corrections is kept
//     correction_ranks: [1, 8]                # of which sizes of expert-parallel groups
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "models/kernel_format.h"

namespace sim {

struct ExpertKernelSpec {
  std::string source;
  std::string measured_as;
  std::vector<std::string> also;
  std::string format_name;
  KernelFormat format;
  std::vector<std::string> tables;
  std::vector<std::string> free;
  std::map<std::string, double> fixed;
  std::map<std::string, double> instead;
  std::string because;
  std::map<std::string, std::pair<double, double>> range;
  std::vector<std::string> covers;
  std::vector<std::pair<std::int64_t, std::int64_t>> corrections;
  std::vector<std::int64_t> correction_ranks;
};

struct ExpertSpec {
  std::string name;  // of the file, without its ending
  std::string device;
  std::string cite;
  std::vector<ExpertKernelSpec> kernels;
};

// Whether a specification is one of these, by its `kernel`.
bool is_expert_spec(const std::string& file);
ExpertSpec load_expert_spec(const std::string& file);  // throws Error with every mistake

}  // namespace sim
