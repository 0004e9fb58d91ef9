// What to fit to which measured kernels other than experts: one file of specs/ per device.
//
//   kernel: dense                              # how this kind of specification is told from others
//   device: h100-sxm                           # data-sheet rates, and where the constants are kept
//   cite: "ai-dynamo/aiconfigurator, commit 095f58a"
//   kernels:                                   # the first of a format is what a run takes by
//   itself
//   - kernel: attention_decode                 # KernelFamily
//     source: vllm-fa3                         # MeasuredKernel::source, and of the constants
//     also: [vllm_flash_attn_fa3]
//     format: bf16
//     operators: [residual_norm]               # of streaming kernels: MeasuredKernel::op.name
//     form: attention-decode
//     tables: [aic-h100-vllm-attention-decode]
//     rows: {head_dim: 128}                    # models/calibration/dense_rows.h
//     free: [start, compute_share]
//     fixed: {group_tile: 64}
//     because: "..."                           # of fixed values: on whose word
//     range: {sequences: [1, 2048]}            # in place of the rows' own extents
//     held_out: [heads]                        # five folds by the values of these columns
//     target: [6, 20]                          # said beforehand: median and 90th percentile, per
//     cent
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "models/calibration/dense_rows.h"
#include "models/costs/cost_form.h"

namespace sim {

struct DenseKernelSpec {
  KernelFamily family = KernelFamily::kGemm;
  std::string source;
  std::vector<std::string> also;
  KernelFormat format;
  std::vector<std::string> operators;
  const CostForm* form = nullptr;
  std::vector<std::string> tables;
  DenseFilter rows;
  std::vector<std::string> free;
  std::map<std::string, double> fixed;  // SI units
  std::string because;
  std::map<std::string, std::pair<double, double>> range;
  std::vector<std::string> held_out;
  std::vector<std::int64_t> target;  // in thousandths; empty: none
};

struct DenseSpec {
  std::string name;  // of the file, without its ending
  std::string device;
  std::string cite;
  std::vector<DenseKernelSpec> kernels;
};

bool is_dense_spec(const std::string& file);
DenseSpec load_dense_spec(const std::string& file);  // throws Error with every mistake

}  // namespace sim
