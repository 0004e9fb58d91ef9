#include "models/operators.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

#include "models/operator_builder.h"
#include "sim/core/error.h"

namespace sim {

namespace {

Bytes whole(double bytes) { return Bytes(static_cast<std::int64_t>(std::ceil(bytes))); }

// Up projection, activation (which quantises for the down projection), down projection.
void add_mlp(OperatorBuilder& build, const std::string& prefix, OperatorKind kind,
             const GroupFormat& format, const FfnBlock& f, std::int64_t inter) {
  const std::int64_t m = build.batch().tokens;
  const std::int64_t hidden = build.model().hidden;
  const std::int64_t split = build.share(inter);
  build.quantise(kind, format, m, hidden);
  build.gemm(prefix + "_up_proj", kind, format, m, f.up_matrices * split, hidden);
  build.elementwise(prefix + "_activation", kind, static_cast<double>(5 * m * split),
                    static_cast<double>(m * f.up_matrices * split) * build.activation() +
                        static_cast<double>(m * split) *
                            gemm_input_bytes(format.multiplied, build.model().formats.activations));
  build.gemm(prefix + "_down_proj", kind, format, m, hidden, split);
}

bool holds(std::span<const std::string> names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Scores to choices: softmax or sigmoid, group limits and top-k in one kernel over fp32 scores;
// then the rows are permuted, and quantised, for dispatch.
void add_gate(OperatorBuilder& build, const FfnBlock& f, std::span<const std::string> covered) {
  const MoeModel& model = build.model();
  const Routing& routing = *f.routing;
  const std::int64_t m = build.batch().tokens;
  build.gemm("router", OperatorKind::kGate, model.formats.router, m, routing.experts, model.hidden);
  build.elementwise(
      "top_k", OperatorKind::kGate, static_cast<double>(5 * m * routing.experts),
      static_cast<double>(m * routing.experts) * 4 + static_cast<double>(m * routing.top_k) * 8);
  if (holds(covered, "permute_quantise")) return;
  build.elementwise(
      "permute_quantise", OperatorKind::kPermute, 0,
      static_cast<double>(m * model.hidden) * build.activation() +
          static_cast<double>(m * routing.top_k * model.hidden) *
              gemm_input_bytes(model.formats.experts.multiplied, model.formats.activations));
}

// An experts' kernel that sums its own rows leaves one, which the shared experts' is added to.
void add_combine(OperatorBuilder& build, const FfnBlock& f, std::span<const std::string> covered) {
  const std::int64_t m = build.batch().tokens;
  const std::int64_t hidden = build.model().hidden;
  const bool summed = holds(covered, "weighted_sum");
  const std::int64_t others = (f.shared_experts > 0 ? 1 : 0) + (f.dense_inter > 0 ? 1 : 0);
  if (summed && others == 0) return;
  const std::int64_t rows = (summed ? 1 : f.routing->top_k) + others;  // read, and one written
  build.elementwise("weighted_sum", OperatorKind::kPermute,
                    static_cast<double>(2 * m * rows * hidden),
                    static_cast<double>(m * (rows + 1) * hidden) * build.activation());
}

void add_ffn(OperatorBuilder& build, const Block& block, BlockPart part,
             std::span<const std::string> covered) {
  const FfnBlock& f = block.ffn();
  const ModelFormats& formats = build.model().formats;
  switch (part) {
    case BlockPart::kBeforeDispatch:
      build.residual_norm();
      if (f.routing) add_gate(build, f, covered);
      return;
    case BlockPart::kShared:
      if (f.dense_inter > 0) {
        add_mlp(build, "dense", OperatorKind::kDenseFfn, formats.dense, f, f.dense_inter);
      }
      if (f.shared_experts > 0) {
        add_mlp(build, "shared", OperatorKind::kSharedExpert, formats.shared, f,
                f.shared_experts * f.shared_inter);
      }
      return;
    case BlockPart::kAfterCombine:
      if (f.routing) add_combine(build, f, covered);
      build.extra_norms(block.norms - 1);
      return;
  }
}

// The routed experts as one row, `tokens * top_k` rows spread evenly.
Operator experts_row(const MoeModel& model, BlockId id, std::int64_t tokens) {
  const Routing& routing = *block_at(model, id).ffn().routing;
  const std::int64_t all = tokens * routing.top_k;
  std::vector<std::int64_t> rows(static_cast<std::size_t>(routing.experts), all / routing.experts);
  for (std::int64_t e = 0; e < all % routing.experts; ++e) ++rows[static_cast<std::size_t>(e)];
  const ExpertFfn ffn = expert_ffn(model, id, rows, 1);
  Operator op;
  op.name = "experts";
  op.kind = OperatorKind::kExperts;
  op.compute = ffn.compute;
  op.flops = flops_of(ffn);
  op.weight_bytes = weight_bytes_of(ffn);
  op.activation_bytes = activation_bytes_of(ffn);
  return op;
}

}  // namespace

double gemm_input_bytes(DType multiplied, DType activations) {
  if (!quantises(multiplied)) return bytes_per_value(activations);
  const double value = bytes_per_value(multiplied);
  return value == 1 ? 1 + 4.0 / 128 : value;
}

bool quantises(DType multiplied) { return bytes_per_value(multiplied) < 2; }

void OperatorBuilder::gemm(std::string_view name, OperatorKind kind, const GroupFormat& format,
                           std::int64_t m, std::int64_t n, std::int64_t k, std::int64_t weights) {
  Operator op;
  op.name = name;
  op.kind = kind;
  op.family = KernelFamily::kGemm;
  op.compute = format.multiplied;
  op.stored = format.stored.dtype;
  op.flops = Flops(2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k));
  op.weight_bytes = stored_bytes(format.stored, n, k) * weights;
  const double in = gemm_input_bytes(format.multiplied, model_.formats.activations);
  op.activation_bytes =
      whole(static_cast<double>(m * k) * in + static_cast<double>(m * n) * activation());
  op.m = m;
  op.n = n;
  op.k = k;
  op.weights = weights;
  operators_.push_back(std::move(op));
}

void OperatorBuilder::batched_gemm(std::string_view name, OperatorKind kind,
                                   const GroupFormat& format, std::int64_t batch, std::int64_t m,
                                   std::int64_t n, std::int64_t k) {
  gemm(name, kind, format, m, batch * n, k);
  Operator& op = operators_.back();
  op.compute = model_.formats.activations;
  op.stored = model_.formats.activations;
  op.activation_bytes = whole(
      (static_cast<double>(m * k * batch) + static_cast<double>(m * n * batch)) * activation());
}

void OperatorBuilder::kernel(std::string_view name, OperatorKind kind, DType compute, double flops,
                             double bytes) {
  Operator op;
  op.name = name;
  op.kind = kind;
  op.family = KernelFamily::kOther;
  op.compute = compute;
  op.flops = Flops(flops);
  op.activation_bytes = whole(bytes);
  operators_.push_back(std::move(op));
}

void OperatorBuilder::attention_core(KernelFamily family, const AttentionShape& shape, double flops,
                                     double bytes) {
  kernel("attention_core", OperatorKind::kAttention, model_.formats.activations, flops, bytes);
  operators_.back().family = family;
  operators_.back().stored = model_.formats.kv_cache;
  operators_.back().attention = shape;
}

void OperatorBuilder::elementwise(std::string_view name, OperatorKind kind, double flops,
                                  double bytes) {
  kernel(name, kind, DType::kFp32, flops, bytes);
  operators_.back().family = KernelFamily::kStreaming;
}

void OperatorBuilder::quantise(OperatorKind kind, const GroupFormat& format, std::int64_t rows,
                               std::int64_t width) {
  if (!quantises(format.multiplied)) return;
  const double values = static_cast<double>(rows * width);
  elementwise(
      "quantise", kind, 3 * values,
      values * (activation() + gemm_input_bytes(format.multiplied, model_.formats.activations)));
}

void OperatorBuilder::residual_norm() {
  const double values = static_cast<double>(batch_.tokens * model_.hidden);
  elementwise("residual_norm", OperatorKind::kNorm, 5 * values, 4 * values * activation());
}

void OperatorBuilder::extra_norms(std::int64_t count) {
  const double values = static_cast<double>(batch_.tokens * model_.hidden);
  for (std::int64_t i = 0; i < count; ++i) {
    elementwise("norm", OperatorKind::kNorm, 4 * values, 2 * values * activation());
  }
}

std::string_view to_text(OperatorKind kind) {
  switch (kind) {
    case OperatorKind::kEmbedding:
      return "embedding";
    case OperatorKind::kNorm:
      return "norm";
    case OperatorKind::kAttention:
      return "attention";
    case OperatorKind::kGate:
      return "gate";
    case OperatorKind::kPermute:
      return "permute";
    case OperatorKind::kDenseFfn:
      return "dense_ffn";
    case OperatorKind::kSharedExpert:
      return "shared_expert";
    case OperatorKind::kExperts:
      return "experts";
    case OperatorKind::kLmHead:
      return "lm_head";
    case OperatorKind::kSampling:
      return "sampling";
    case OperatorKind::kOptimizer:
      return "optimizer";
  }
  SIM_CHECK(false, "every kind has a name");
}

namespace {
constexpr std::array<std::pair<KernelFamily, std::string_view>, 9> kFamilies = {{
    {KernelFamily::kExpertFfn, "expert_ffn"},
    {KernelFamily::kGemm, "gemm"},
    {KernelFamily::kAttentionPrefill, "attention_prefill"},
    {KernelFamily::kAttentionDecode, "attention_decode"},
    {KernelFamily::kMlaPrefill, "mla_prefill"},
    {KernelFamily::kMlaDecode, "mla_decode"},
    {KernelFamily::kStreaming, "streaming"},
    {KernelFamily::kCopy, "copy"},
    {KernelFamily::kOther, "other"},
}};
}  // namespace

std::string_view to_text(KernelFamily family) {
  for (const auto& [each, name] : kFamilies) {
    if (each == family) return name;
  }
  SIM_CHECK(false, "every family has a name");
}

std::optional<KernelFamily> parse_kernel_family(std::string_view text) {
  for (const auto& [each, name] : kFamilies) {
    if (name == text) return each;
  }
  return std::nullopt;
}

std::vector<std::string> kernel_family_names() {
  std::vector<std::string> names;
  for (const auto& [family, name] : kFamilies) names.emplace_back(name);
  return names;
}

std::span<const std::string_view> operator_names() {
  static constexpr auto kNames = std::to_array<std::string_view>(
      {"embedding",         "residual_norm",      "norm",           "top_k",
       "permute_quantise",  "weighted_sum",       "quantise",       "dense_activation",
       "shared_activation", "sampling",           "rope_kv_write",  "output_gate",
       "q_a_norm",          "kv_norm_rope_write", "index_top_k",    "conv",
       "gated_norm",        "inner_norms",        "attention_core", "index_scores",
       "gated_delta",       "selective_scan",     "cross_entropy",  "optimizer",
       "expert_activation"});
  return kNames;
}

std::vector<Operator> block_operators(const MoeModel& model, int layer, int block, BlockPart part,
                                      const TokenBatch& batch, int tp,
                                      std::span<const std::string> covered) {
  SIM_CHECK(tp > 0, "a width of tensor parallelism is positive");
  const Block& here = block_at(model, {layer, block});
  const Stack stack = model.layers[static_cast<std::size_t>(layer)].stack;
  if (batch.tokens <= 0 || (stack == Stack::kEncoder && batch.phase == Phase::kDecode)) return {};
  OperatorBuilder build(model, batch, tp);
  if (here.kind() == BlockKind::kFfn) {
    add_ffn(build, here, part, covered);
  } else if (part == BlockPart::kBeforeDispatch) {
    add_attention(build, here.attention(), here.norms);
  }
  return build.take();
}

std::vector<Operator> input_operators(const MoeModel& model, const TokenBatch& batch, int tp) {
  SIM_CHECK(tp > 0, "a width of tensor parallelism is positive");
  if (batch.tokens <= 0) return {};
  Operator op;
  op.name = "embedding";
  op.kind = OperatorKind::kEmbedding;
  op.compute = DType::kFp32;
  op.weight_bytes = stored_bytes(model.formats.embeddings.stored, batch.tokens, model.hidden);
  op.activation_bytes = whole(static_cast<double>(batch.tokens * model.hidden) *
                              bytes_per_value(model.formats.activations));
  return {op};
}

std::vector<Operator> output_operators(const MoeModel& model, const TokenBatch& batch, int tp) {
  SIM_CHECK(tp > 0, "a width of tensor parallelism is positive");
  OperatorBuilder build(model, batch, tp);
  if (batch.tokens <= 0) return {};
  build.residual_norm();
  if (batch.logit_rows > 0) {
    const std::int64_t columns = build.share(model.vocabulary);
    build.gemm("lm_head", OperatorKind::kLmHead, model.formats.embeddings, batch.logit_rows,
               columns, model.hidden);
    // Softmax and draw over fp32 logits: read twice.
    const double logits = static_cast<double>(batch.logit_rows * columns);
    build.elementwise("sampling", OperatorKind::kSampling, 5 * logits, 8 * logits);
  }
  return build.take();
}

ExpertFfn expert_ffn(const MoeModel& model, BlockId id, std::span<const std::int64_t> rows,
                     int etp) {
  SIM_CHECK(etp > 0, "a width of tensor parallelism is positive");
  const FfnBlock& f = block_at(model, id).ffn();
  SIM_CHECK(f.routing.has_value(), "only a routed block has experts");
  ExpertFfn ffn;
  ffn.rows = rows;
  ffn.hidden = model.hidden;
  ffn.inter = (f.expert_inter + etp - 1) / etp;
  ffn.gated = f.up_matrices >= 2;
  ffn.extra_up = std::max<std::int64_t>(0, f.up_matrices - 2);
  ffn.compute = model.formats.experts.multiplied;
  ffn.stored = model.formats.experts.stored.dtype;
  ffn.activations = model.formats.activations;
  ffn.tokens = std::accumulate(rows.begin(), rows.end(), std::int64_t{0});
  ffn.top_k = 1;
  ffn.experts = static_cast<std::int64_t>(rows.size());
  return ffn;
}

std::vector<PlacedOperator> all_operators(const MoeModel& model, const TokenBatch& batch, int tp) {
  std::vector<PlacedOperator> result;
  const auto add = [&](int layer, int block, const std::vector<Operator>& operators) {
    for (const Operator& op : operators) result.push_back({layer, block, op});
  };
  add(-1, -1, input_operators(model, batch, tp));
  for (int layer = 0; layer < static_cast<int>(model.layers.size()); ++layer) {
    const Layer& here = model.layers[static_cast<std::size_t>(layer)];
    for (int block = 0; block < static_cast<int>(here.blocks.size()); ++block) {
      for (const BlockPart part :
           {BlockPart::kBeforeDispatch, BlockPart::kShared, BlockPart::kAfterCombine}) {
        const Block& b = here.blocks[static_cast<std::size_t>(block)];
        const bool runs =
            batch.tokens > 0 && (here.stack == Stack::kDecoder || batch.phase == Phase::kPrefill);
        if (part == BlockPart::kAfterCombine && runs && b.kind() == BlockKind::kFfn &&
            b.ffn().routing) {
          add(layer, block, {experts_row(model, {layer, block}, batch.tokens)});
        }
        add(layer, block, block_operators(model, layer, block, part, batch, tp));
      }
    }
  }
  add(-1, -1, output_operators(model, batch, tp));
  return result;
}

}  // namespace sim
