#include "models/calibration/measured_operators.h"

#include <algorithm>
#include <cmath>

namespace sim {
namespace {

constexpr double kOutputBytes = 2;  // bf16

Bytes whole(double bytes) { return Bytes(static_cast<std::int64_t>(std::ceil(bytes))); }

Operator attention_operator(KernelFamily family, const KernelFormat& format,
                            const AttentionShape& shape, double bytes) {
  Operator op;
  op.name = "attention_core";
  op.kind = OperatorKind::kAttention;
  op.family = family;
  op.stored = format.stored;
  op.compute = format.multiplied;
  op.attention = shape;
  op.flops = Flops(2 * shape.pairs *
                   static_cast<double>(shape.heads * (shape.head_dim + shape.value_dim)));
  op.activation_bytes = whole(bytes);
  return op;
}

AttentionShape shape_of(const KernelFormat& format, const AlikeSequences& of) {
  AttentionShape shape;
  shape.sequences = of.sequences;
  shape.heads = of.heads;
  shape.kv_heads = of.kv_heads;
  shape.head_dim = of.head_dim;
  shape.value_dim = of.value_dim;
  shape.kv_value_bytes = bytes_per_value(format.stored);
  shape.longest = of.window > 0 ? std::min(of.window, of.context) : of.context;
  shape.windowed = of.window > 0 && of.window < of.context;
  return shape;
}

}  // namespace

Operator gemm_operator(const KernelFormat& format, std::int64_t m, std::int64_t n, std::int64_t k) {
  Operator op;
  op.name = "gemm";
  op.family = KernelFamily::kGemm;
  op.stored = format.stored;
  op.compute = format.multiplied;
  op.m = m;
  op.n = n;
  op.k = k;
  op.flops = Flops(2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k));
  op.weight_bytes = stored_bytes(usual_format(format.stored), n, k);
  op.activation_bytes =
      whole(static_cast<double>(m * k) * gemm_input_bytes(format.multiplied, DType::kBf16) +
            static_cast<double>(m * n) * kOutputBytes);
  return op;
}

Operator decode_operator(KernelFamily family, const KernelFormat& format,
                         const AlikeSequences& of) {
  AttentionShape shape = shape_of(format, of);
  shape.queries = of.sequences;
  shape.pairs = of.sequences * shape.longest;
  shape.cached = shape.pairs;
  // MLA's values are a part of its keys: the latent vector is read once.
  const double cached = static_cast<double>(of.kv_heads * (family == KernelFamily::kMlaDecode
                                                               ? of.head_dim
                                                               : of.head_dim + of.value_dim));
  const double bytes =
      shape.cached * cached * shape.kv_value_bytes +
      shape.queries * static_cast<double>(of.heads * (of.head_dim + of.value_dim)) * kOutputBytes;
  return attention_operator(family, format, shape, bytes);
}

Operator prefill_operator(KernelFamily family, const KernelFormat& format,
                          const AlikeSequences& of) {
  AttentionShape shape = shape_of(format, of);
  const double s = of.context;
  const double w = shape.longest;
  shape.queries = of.sequences * s;
  shape.pairs = of.sequences * (s * w - w * (w - 1) / 2);
  shape.cached = shape.queries;
  const double width = static_cast<double>(of.head_dim + of.value_dim);
  const double bytes =
      shape.queries * width *
      (static_cast<double>(of.heads) * kOutputBytes +
       static_cast<double>(of.kv_heads) *
           (family == KernelFamily::kMlaPrefill ? kOutputBytes : shape.kv_value_bytes));
  return attention_operator(family, format, shape, bytes);
}

Operator streaming_operator(std::string_view name, double bytes) {
  Operator op;
  op.name = name;
  op.family = KernelFamily::kStreaming;
  op.compute = DType::kFp32;
  op.activation_bytes = whole(bytes);
  return op;
}

}  // namespace sim
