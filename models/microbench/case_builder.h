// Builds lists of cases: the kernels of one shape of layer, with the words that all of them share.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "models/microbench/case_list.h"

namespace sim::microbench {

struct LayerShape {
  std::int64_t hidden = 0;
  std::int64_t inter = 0;
  std::int64_t experts = 0;
  std::int64_t top_k = 0;
};

using Sizes = std::map<std::string, std::int64_t>;
using Options = std::map<std::string, std::string>;
using Passes = std::vector<std::string>;
using Counts = std::vector<std::int64_t>;

class CaseBuilder {
 public:
  // Implementations of what has GEMMs and of what has none; several are several cases.
  CaseBuilder(std::vector<std::string> matrix, std::vector<std::string> plain);

  void dtypes(std::vector<std::string> matrix, std::string plain);
  void memory_ceiling(const Counts& bytes);
  void matrix_ceiling(const Counts& sizes);
  void gemm(const Counts& tokens, std::int64_t n, std::int64_t k, const Passes& passes);
  // Router gate, permute, un-permute, norm, activation, quantise, forward and backward.
  void row_kernels(const LayerShape& shape, const Counts& tokens, const Passes& passes);
  void grouped(const LayerShape& shape, const Counts& tokens, std::span<const Skew> skews,
               const Passes& passes);
  void grouped_padded(const LayerShape& shape, const Counts& tokens, Skew skew, std::int64_t tile);
  void ffn(const LayerShape& shape, const Counts& tokens, std::span<const Skew> skews,
           const Passes& passes);
  void layer(const LayerShape& shape, const Counts& tokens, std::span<const Skew> skews);
  // A case for every implementation and number format of its kind.
  void matrix(const std::string& kernel, const Sizes& sizes, const Passes& passes);
  void plain(const std::string& kernel, const Sizes& sizes, const Passes& passes,
             const Options& options = {}, const Counts& rows = {});

  std::vector<KernelCase>& cases() { return cases_; }
  // The cases, each once: few tokens spread alike under several skews.
  std::vector<KernelCase> take();

 private:
  void add_matrix(KernelCase one, const Passes& passes);

  std::vector<std::string> matrix_;
  std::vector<std::string> plain_;
  std::vector<std::string> matrix_dtypes_ = {"fp32"};
  std::string plain_dtype_ = "fp32";
  std::vector<KernelCase> cases_;
};

}  // namespace sim::microbench
