#include "models/backward.h"

#include <algorithm>
#include <cmath>

#include "models/operator_builder.h"
#include "sim/core/error.h"

namespace sim {

namespace {

Bytes whole(double bytes) { return Bytes(static_cast<std::int64_t>(std::ceil(bytes))); }

// Flops and bytes of a backward kernel over its forward's. Bytes: tensors that are read and written
// in backward over those in forward, all of one size.
struct Factor {
  std::string_view name;
  double flops;
  double bytes;
};
constexpr Factor kFactors[] = {
    {"residual_norm", 2, 1},  // reads gradients of both outputs and the input, writes one; four
    {"norm", 2, 1.5},         // reads gradient and input, writes one; forward two
    {"q_a_norm", 2, 1.5},
    {"inner_norms", 2, 1.5},
    {"kv_norm_rope_write", 2, 1.5},
    {"rope_kv_write", 2, 1},
    {"output_gate", 2, 5.0 / 3},  // reads gradient, both inputs, writes two; forward three
    {"gated_norm", 2, 5.0 / 3},
    {"conv", 2, 1.5},
    {"top_k", 2, 2},           // reads scores and choices, writes the logits' gradient
    {"weighted_sum", 0.5, 1},  // one gradient to all rows; that of the weights: expert_work.h
    {"index_scores", 2, 2},    // of both inputs
    {"index_top_k", 0, 0},     // a choice has no gradient
    {"gated_delta", 3, 2},     // the states again, then twice the work
    {"selective_scan", 3, 2},
    {"quantise", 0, 0},  // gradients pass it unchanged
};

const Factor* factor_of(std::string_view name) {
  const auto* const found = std::find_if(std::begin(kFactors), std::end(kFactors),
                                         [&](const Factor& each) { return each.name == name; });
  return found == std::end(kFactors) ? nullptr : found;
}

Operator backward_of(const Operator& forward, const char* suffix, KernelPass pass) {
  Operator op = forward;
  op.name += suffix;
  op.like = forward.name;
  op.pass = pass;
  op.flops = Flops(0);
  op.weight_bytes = op.activation_bytes = Bytes{};
  return op;
}

class Backward {
 public:
  Backward(const MoeModel& model, DType gradients) : model_(model), gradients_(gradients) {}

  void input_gradient(const Operator& forward, const Block* block, const OperatorBuilder& sizes) {
    if (forward.family == KernelFamily::kGemm) return gemm_input(forward);
    if (forward.attention.heads > 0) return attention(forward);
    if (const Factor* factor = factor_of(forward.name)) {
      add(forward, forward.flops.count() * factor->flops,
          static_cast<double>(forward.activation_bytes.count()) * factor->bytes);
      return;
    }
    SIM_CHECK(block != nullptr && block->kind() == BlockKind::kFfn,
              "every kernel of an attention block has a factor");
    ffn(forward, block->ffn(), sizes);
  }

  // dW += dY^T X.
  void weight_gradient(const Operator& forward) {
    if (forward.family != KernelFamily::kGemm) return;
    const double rows = static_cast<double>(forward.m);
    if (quantises(forward.compute)) {
      const double input = rows * static_cast<double>(forward.k) * in(forward.compute);
      quantise(forward, 2 * input);
    }
    Operator op = backward_of(forward, "_wgrad", KernelPass::kWeightGradient);
    op.flops = forward.flops;
    op.m = forward.n;
    op.n = forward.k;
    op.k = forward.m;
    const double weight = static_cast<double>(forward.n) * static_cast<double>(forward.k) *
                          static_cast<double>(forward.weights);
    op.weight_bytes = whole(2 * weight * bytes_per_value(gradients_));
    op.activation_bytes =
        quantises(forward.compute)
            ? whole(rows * static_cast<double>(forward.n + forward.k) * in(forward.compute))
            : forward.activation_bytes;
    out_.push_back(std::move(op));
  }

  std::vector<Operator> take() { return std::move(out_); }

 private:
  double activation() const { return bytes_per_value(model_.formats.activations); }
  double in(DType multiplied) const {
    return gemm_input_bytes(multiplied, model_.formats.activations);
  }

  void add(const Operator& forward, double flops, double bytes) {
    if (bytes <= 0) return;
    Operator op = backward_of(forward, "_backward", KernelPass::kInputGradient);
    op.flops = Flops(flops);
    op.activation_bytes = whole(bytes);
    out_.push_back(std::move(op));
  }

  void quantise(const Operator& of, double bytes) {
    Operator op;
    op.name = "quantise_backward";
    op.like = "quantise";
    op.kind = of.kind;
    op.family = KernelFamily::kStreaming;
    op.compute = DType::kFp32;
    op.pass = KernelPass::kInputGradient;
    op.activation_bytes = whole(bytes);
    out_.push_back(std::move(op));
  }

  // dX = dY W.
  void gemm_input(const Operator& forward) {
    const double rows = static_cast<double>(forward.m);
    const double outputs = rows * static_cast<double>(forward.n);
    if (quantises(forward.compute)) {
      quantise(forward, outputs * (activation() + 2 * in(forward.compute)));
    }
    Operator op = backward_of(forward, "_dgrad", KernelPass::kInputGradient);
    op.flops = forward.flops;
    op.weight_bytes = forward.weight_bytes;
    op.n = forward.k;
    op.k = forward.n;
    op.activation_bytes = quantises(forward.compute)
                              ? whole(outputs * in(forward.compute) +
                                      rows * static_cast<double>(forward.k) * activation())
                              : forward.activation_bytes;
    out_.push_back(std::move(op));
  }

  // Reads queries, keys, values, outputs and the outputs' gradient, writes three gradients; that of
  // the queries is summed in fp32 and then rounded.
  void attention(const Operator& forward) {
    const AttentionShape& shape = forward.attention;
    const double queries =
        shape.queries * static_cast<double>(shape.heads) * static_cast<double>(shape.head_dim);
    const double five_over_two = static_cast<double>(3 * shape.head_dim + 2 * shape.value_dim) /
                                 static_cast<double>(shape.head_dim + shape.value_dim);
    add(forward, forward.flops.count() * five_over_two,
        2 * static_cast<double>(forward.activation_bytes.count()) + queries * 8);
  }

  void ffn(const Operator& forward, const FfnBlock& f, const OperatorBuilder& sizes) {
    const double tokens = static_cast<double>(sizes.batch().tokens);
    const double hidden = static_cast<double>(model_.hidden);
    if (forward.name == "permute_quantise") {
      // Sums the gradients of a token's copies.
      const double copies = static_cast<double>(f.routing->top_k);
      return add(forward, tokens * copies * hidden, tokens * (copies + 1) * hidden * activation());
    }
    SIM_CHECK(forward.name == "dense_activation" || forward.name == "shared_activation",
              "every kernel has a backward");
    const bool dense = forward.name == "dense_activation";
    const std::int64_t inter =
        sizes.share(dense ? f.dense_inter : f.shared_experts * f.shared_inter);
    // Reads what it was given and the gradient, writes a gradient.
    const double values = tokens * static_cast<double>(inter);
    const double up = values * static_cast<double>(f.up_matrices);
    add(forward, 2 * forward.flops.count(), (2 * up + values) * activation());
  }

  const MoeModel& model_;
  DType gradients_;
  std::vector<Operator> out_;
};

std::vector<Operator> backward_of_all(const MoeModel& model, const std::vector<Operator>& forward,
                                      const Block* block, const TokenBatch& batch, int tp,
                                      GradientOf gradient, DType gradients) {
  const OperatorBuilder sizes(model, batch, tp);
  Backward build(model, gradients);
  for (auto op = forward.rbegin(); op != forward.rend(); ++op) {
    if (gradient == GradientOf::kInput) {
      build.input_gradient(*op, block, sizes);
    } else {
      build.weight_gradient(*op);
    }
  }
  return build.take();
}

Operator streaming(const char* name, OperatorKind kind, double flops, double bytes) {
  Operator op;
  op.name = name;
  op.kind = kind;
  op.compute = DType::kFp32;
  op.flops = Flops(flops);
  op.activation_bytes = whole(bytes);
  return op;
}

double logits_of(const MoeModel& model, const TokenBatch& batch, int tp) {
  const std::int64_t columns = (model.vocabulary + tp - 1) / tp;
  return static_cast<double>(batch.tokens) * static_cast<double>(columns);
}

// Final norm and LM head over all tokens.
std::vector<Operator> head_operators(const MoeModel& model, const TokenBatch& batch, int tp) {
  SIM_CHECK(tp > 0, "a width of tensor parallelism is positive");
  if (batch.tokens <= 0) return {};
  OperatorBuilder build(model, batch, tp);
  build.residual_norm();
  build.gemm("lm_head", OperatorKind::kLmHead, model.formats.embeddings, batch.tokens,
             build.share(model.vocabulary), model.hidden);
  return build.take();
}

}  // namespace

std::vector<Operator> backward_operators(const MoeModel& model, int layer, int block,
                                         BlockPart part, const TokenBatch& batch, int tp,
                                         GradientOf gradient, std::span<const std::string> covered,
                                         DType gradients) {
  SIM_CHECK(batch.phase == Phase::kPrefill, "training's forward pass is a prefill");
  const std::vector<Operator> forward =
      block_operators(model, layer, block, part, batch, tp, covered);
  return backward_of_all(model, forward, &block_at(model, {layer, block}), batch, tp, gradient,
                         gradients);
}

std::vector<Operator> training_output_operators(const MoeModel& model, const TokenBatch& batch,
                                                int tp) {
  std::vector<Operator> operators = head_operators(model, batch, tp);
  if (operators.empty()) return operators;
  const double logits = logits_of(model, batch, tp);
  const double value = bytes_per_value(model.formats.activations);
  operators.push_back(
      streaming("cross_entropy", OperatorKind::kSampling, 4 * logits, 2 * logits * value));
  return operators;
}

std::vector<Operator> output_backward_operators(const MoeModel& model, const TokenBatch& batch,
                                                int tp, GradientOf gradient, DType gradients) {
  const std::vector<Operator> forward = head_operators(model, batch, tp);
  std::vector<Operator> operators;
  if (!forward.empty() && gradient == GradientOf::kInput) {
    const double logits = logits_of(model, batch, tp);
    Operator loss = streaming("cross_entropy_backward", OperatorKind::kSampling, 3 * logits,
                              2 * logits * bytes_per_value(model.formats.activations));
    loss.like = "cross_entropy";
    loss.pass = KernelPass::kInputGradient;
    operators.push_back(std::move(loss));
  }
  for (Operator& op : backward_of_all(model, forward, nullptr, batch, tp, gradient, gradients)) {
    operators.push_back(std::move(op));
  }
  return operators;
}

std::vector<Operator> input_backward_operators(const MoeModel& model, const TokenBatch& batch,
                                               int tp, GradientOf gradient, DType gradients) {
  SIM_CHECK(tp > 0, "a width of tensor parallelism is positive");
  if (batch.tokens <= 0 || gradient == GradientOf::kInput) return {};
  const double values = static_cast<double>(batch.tokens) * static_cast<double>(model.hidden);
  Operator op = streaming("embedding_wgrad", OperatorKind::kEmbedding, values,
                          values * bytes_per_value(model.formats.activations));
  op.like = "embedding";
  op.pass = KernelPass::kWeightGradient;
  op.weight_bytes = whole(2 * values * bytes_per_value(gradients));
  return {op};
}

Operator optimizer_operator(std::int64_t parameters, double bytes_per_parameter) {
  SIM_CHECK(parameters >= 0 && bytes_per_parameter >= 0, "amounts are not negative");
  const double count = static_cast<double>(parameters);
  return streaming("optimizer", OperatorKind::kOptimizer, 14 * count, count * bytes_per_parameter);
}

double adam_bytes_per_parameter(DType gradient, DType master, DType moments, DType weight) {
  return bytes_per_value(gradient) + 2 * bytes_per_value(master) + 4 * bytes_per_value(moments) +
         bytes_per_value(weight);
}

Flops attention_core_flops(const AttentionShape& shape) {
  return Flops(2 * shape.pairs * static_cast<double>(shape.heads) *
               static_cast<double>(shape.head_dim + shape.value_dim));
}

Bytes attention_core_bytes(const AttentionShape& shape, DType activations) {
  const double width = static_cast<double>(shape.head_dim + shape.value_dim);
  return whole(shape.cached * static_cast<double>(shape.kv_heads) * width * shape.kv_value_bytes +
               shape.queries * static_cast<double>(shape.heads) * width *
                   bytes_per_value(activations));
}

}  // namespace sim
