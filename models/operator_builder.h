// Builds the list of kernels of one part of a block: used by the operator files only.
#pragma once

#include <string_view>
#include <vector>

#include "models/operators.h"

namespace sim {

class OperatorBuilder {
 public:
  OperatorBuilder(const MoeModel& model, const TokenBatch& batch, int tp)
      : model_(model), batch_(batch), tp_(tp) {}

  const MoeModel& model() const { return model_; }
  const TokenBatch& batch() const { return batch_; }
  int tp() const { return tp_; }
  double activation() const { return bytes_per_value(model_.formats.activations); }
  // This rank's share of `count` heads or columns.
  std::int64_t share(std::int64_t count) const { return (count + tp_ - 1) / tp_; }

  // m x k times k x n. Reads its input in the multiplied format, writes the activations' format.
  // `weights`: how many copies of the n x k matrix are read (experts of a routed projection).
  void gemm(std::string_view name, OperatorKind kind, const GroupFormat& format, std::int64_t m,
            std::int64_t n, std::int64_t k, std::int64_t weights = 1);
  // `batch` independent products of m x k times k x n, each with its own weights, on unquantised
  // activations (the absorbed projections of MLA, one per head).
  void batched_gemm(std::string_view name, OperatorKind kind, const GroupFormat& format,
                    std::int64_t batch, std::int64_t m, std::int64_t n, std::int64_t k);
  // A kernel bound by memory: `bytes` read and written.
  void elementwise(std::string_view name, OperatorKind kind, double flops, double bytes);
  // A kernel of no family with a law of its own.
  void kernel(std::string_view name, OperatorKind kind, DType compute, double flops, double bytes);
  void attention_core(KernelFamily family, const AttentionShape& shape, double flops, double bytes);
  // A quantisation kernel over rows x width, where `format` multiplies something narrower than the
  // activations. Nothing otherwise.
  void quantise(OperatorKind kind, const GroupFormat& format, std::int64_t rows,
                std::int64_t width);
  // Adds the residual and normalises all tokens.
  void residual_norm();
  void extra_norms(std::int64_t count);

  std::vector<Operator> take() { return std::move(operators_); }

 private:
  const MoeModel& model_;
  const TokenBatch& batch_;
  int tp_;
  std::vector<Operator> operators_;
};

// Whether activations are quantised to be multiplied in this format.
bool quantises(DType multiplied);

void add_attention(OperatorBuilder& build, const AttentionBlock& attention, std::int64_t norms);

}  // namespace sim
