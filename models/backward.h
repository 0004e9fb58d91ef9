// Kernels of a training step beside the forward pass: gradients of inputs and weights, loss,
// optimizer.
//
// The backward pass of a part is derived from its forward kernels, last one first:
//   GEMM (m, n, k)    input gradient (m, k, n): the forward's flops; weight gradient (n, k, m):
//                     likewise, added to the gradient's buffer
//   attention core    one kernel of five products over the same pairs for the forward's two
//                     (scores again, and gradients of values, weights, queries, keys): 2.5 times
//                     the flops where keys are as wide as values. Dao, FlashAttention-2, arXiv
//                     2307.08691, section 4.1
//   other kernels     what their gradient reads and writes; named "X_backward"
// 8-bit recipes: each GEMM's output gradient is quantised, by rows and by columns, before its input
// gradient; its saved input is turned to columns before its weight gradient (DeepSeek-V3's report,
// arXiv 2412.19437, section 3.3). All three GEMMs of a weight are multiplied in one format.
//
// Left out: gradients of biases, norms' weights and rotary tables (a thousandth of the bytes), and
// the auxiliary losses; the norm of all gradients for clipping, and the 8-bit copies of the
// weights, once per step each (4 to 6 bytes per parameter beside Adam's 30). A sparse indexer's
// kernels are gone through like any others, though it is trained by a loss of its own. Recurrences
// (gated delta, selective scan) are assumed to run forward again and twice its work.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/operators.h"

namespace sim {

enum class GradientOf { kInput, kWeight };

// One part of one block; the arguments are those of block_operators. kInput: everything that the
// gradient of the block's input needs; kWeight: the gradients of its GEMMs' weights, added to
// buffers of `gradients`. REQUIRES: a batch of Phase::kPrefill; the block exists; tp > 0.
std::vector<Operator> backward_operators(const MoeModel& model, int layer, int block,
                                         BlockPart part, const TokenBatch& batch, int tp,
                                         GradientOf gradient,
                                         std::span<const std::string> covered = {},
                                         DType gradients = DType::kFp32);

// Final norm, LM head over all tokens of the batch, and the loss: softmax cross-entropy over this
// rank's columns of the vocabulary, which reads the logits twice (largest value, then sum).
std::vector<Operator> training_output_operators(const MoeModel& model, const TokenBatch& batch,
                                                int tp);
// Of training_output_operators; the loss writes its gradient over the logits.
std::vector<Operator> output_backward_operators(const MoeModel& model, const TokenBatch& batch,
                                                int tp, GradientOf gradient,
                                                DType gradients = DType::kFp32);
// The embedding's gradient rows, added to its buffer; kInput: nothing lies before it.
std::vector<Operator> input_backward_operators(const MoeModel& model, const TokenBatch& batch,
                                               int tp, GradientOf gradient,
                                               DType gradients = DType::kFp32);

// One step of Adam over so many parameters on this device: 14 flops each (two moving averages,
// root, division, decay), and their bytes. REQUIRES: neither is negative.
Operator optimizer_operator(std::int64_t parameters, double bytes_per_parameter);
// Bytes that Adam reads and writes per parameter: reads the gradient, reads and writes the master
// weight and two moments, writes the weight that the model computes with.
double adam_bytes_per_parameter(DType gradient, DType master, DType moments, DType weight);

// The attention core's forward: 2 flops per multiply-add, products over pairs; queries, keys,
// values and outputs once.
Flops attention_core_flops(const AttentionShape& shape);
Bytes attention_core_bytes(const AttentionShape& shape, DType activations);

}  // namespace sim
