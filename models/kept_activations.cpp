#include "models/kept_activations.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "models/operator_builder.h"
#include "sim/core/error.h"

namespace sim {

namespace {

constexpr std::array kItems = {"activations: layer inputs", "activations: norms",
                               "activations: attention",    "activations: dense_ffn",
                               "activations: router",       "activations: shared_experts"};
enum Item { kInputs, kNorms, kAttention, kDense, kRouter, kShared };

constexpr double kFp32 = 4;

double share(std::int64_t count, int ways) {
  return static_cast<double>((count + ways - 1) / ways);
}

// Bytes of one layer, per item.
class Kept {
 public:
  Kept(const MoeModel& model, const KeptBatch& batch, const Recompute& recompute)
      : model_(model),
        batch_(batch),
        recompute_(recompute),
        value_(bytes_per_value(model.formats.activations)),
        tokens_(static_cast<double>(batch.tokens)),
        own_tokens_(share(batch.tokens, batch.tp)) {}

  void block(const Block& block) {
    const double hidden = static_cast<double>(model_.hidden);
    const bool attends = block.kind() == BlockKind::kAttention;
    if (recompute_.full) return;
    sums_[kNorms] += own_tokens_ * hidden * value_ * static_cast<double>(block.norms);
    if (!has(RecomputeModule::kNorms)) {
      // The norm's output: what the block's first GEMMs read; a router reads it unquantised.
      double bytes = gemm_input_bytes(first_format(block).multiplied, model_.formats.activations);
      if (!attends && block.ffn().routing)
        bytes = reads_both(block.ffn()) ? value_ + bytes : value_;
      sums_[kNorms] += own_tokens_ * hidden * bytes;
    }
    if (attends) {
      attention(block.attention());
    } else {
      ffn(block.ffn());
    }
  }

  void layer_input() {
    sums_[kInputs] += own_tokens_ * static_cast<double>(model_.hidden) * value_;
  }

  std::vector<MemoryItem> items() const {
    std::vector<MemoryItem> result;
    for (std::size_t i = 0; i < kItems.size(); ++i) {
      const Bytes bytes(static_cast<std::int64_t>(std::ceil(sums_[i])));
      if (bytes > Bytes{}) result.push_back({kItems[i], bytes});
    }
    return result;
  }

 private:
  bool has(RecomputeModule module) const { return recompute_.has(module); }
  double input(const GroupFormat& format) const {
    return gemm_input_bytes(format.multiplied, model_.formats.activations);
  }
  // Shared or dense experts beside a router read the norm's output in 8 bits, the router in 16.
  bool reads_both(const FfnBlock& f) const {
    const bool narrow = quantises(model_.formats.shared.multiplied);
    return narrow && (f.shared_experts > 0 || f.dense_inter > 0);
  }
  const GroupFormat& first_format(const Block& block) const {
    if (block.kind() == BlockKind::kAttention) return model_.formats.attention;
    return block.ffn().dense_inter > 0 ? model_.formats.dense : model_.formats.shared;
  }

  void attention(const AttentionBlock& a) {
    switch (a.kind) {
      case AttentionKind::kGrouped:
        return grouped(a);
      case AttentionKind::kLatent:
        return latent(a);
      case AttentionKind::kGatedDelta:
        return gated_delta(a);
      case AttentionKind::kMamba:
        return mamba(a);
    }
  }

  // Output of the core, which the output projection reads too, in its own format; sums of softmax.
  void core(const AttentionBlock& a, double heads) {
    const double outputs = heads * static_cast<double>(a.value_dim);
    const GroupFormat& format = model_.formats.attention;
    double bytes = outputs * value_;
    if (quantises(format.multiplied)) bytes += outputs * input(format);
    if (a.output_gate) bytes += 2 * outputs * value_;  // the gate, and the product
    sums_[kAttention] += tokens_ * bytes;
    if (!has(RecomputeModule::kAttentionCore)) sums_[kAttention] += tokens_ * heads * kFp32;
  }

  void grouped(const AttentionBlock& a) {
    const double heads = share(a.heads, batch_.tp);
    const double kv = share(a.kv_heads, batch_.tp);
    const double columns = heads * static_cast<double>(a.head_dim) +
                           kv * static_cast<double>(a.head_dim + a.value_dim);
    sums_[kAttention] += tokens_ * columns * value_;
    core(a, heads);
    if (a.routing) scores(*a.routing);
  }

  void latent(const AttentionBlock& a) {
    const double heads = share(a.heads, batch_.tp);
    const double latents = static_cast<double>(a.q_rank + a.kv_rank);
    const double rope = static_cast<double>(a.rope_dim);
    sums_[kAttention] += own_tokens_ * (latents + rope) * value_;  // into the latents' norms
    if (!has(RecomputeModule::kNorms)) {
      sums_[kAttention] += own_tokens_ * latents * input(model_.formats.attention);
    }
    if (!has(RecomputeModule::kMlaUp)) {
      const double per_head = static_cast<double>(2 * a.head_dim + a.value_dim);
      sums_[kAttention] += tokens_ * heads * per_head * value_;
    }
    core(a, heads);
  }

  // Input of the convolution, its output, gate, and the core's output before and after its norm.
  void gated_delta(const AttentionBlock& a) {
    const double keys = share(a.kv_heads, batch_.tp) * static_cast<double>(a.head_dim);
    const double heads = share(a.heads, batch_.tp);
    const double values = heads * static_cast<double>(a.value_dim);
    const double triangle = heads * 64;
    double wide = 2 * (2 * keys + values) + 2 * values + triangle + 2 * heads;
    if (!has(RecomputeModule::kNorms)) wide += values;
    sums_[kAttention] += tokens_ * wide * value_;
  }

  void mamba(const AttentionBlock& a) {
    const double inner = share(a.inner, batch_.tp);
    const double x = static_cast<double>(a.step_rank + 2 * a.state);
    double wide = 4 * inner + x;  // x and gate, after the convolution, the step, the output
    wide += inner;
    if (!has(RecomputeModule::kNorms)) wide += x;
    sums_[kAttention] += tokens_ * wide * value_;
  }

  void scores(const Routing& routing) {
    if (has(RecomputeModule::kRouter)) return;
    sums_[kRouter] += own_tokens_ * static_cast<double>(routing.experts) * kFp32;
  }

  void mlp(Item item, RecomputeModule module, const FfnBlock& f, std::int64_t inter,
           const GroupFormat& format, double tokens, int tp) {
    if (has(module)) return;
    const double split = share(inter, tp);
    sums_[item] += tokens * static_cast<double>(f.up_matrices) * split * value_;
    if (!has(RecomputeModule::kActivation)) sums_[item] += tokens * split * input(format);
  }

  void ffn(const FfnBlock& f) {
    if (f.dense_inter > 0) {
      mlp(kDense, RecomputeModule::kDenseFfn, f, f.dense_inter, model_.formats.dense, tokens_,
          batch_.tp);
    }
    if (f.routing) {
      scores(*f.routing);
      // Places and weights of the choices: 4 bytes each.
      sums_[kRouter] += own_tokens_ * static_cast<double>(f.routing->top_k) * 8;
    }
    if (f.shared_experts > 0) {
      mlp(kShared, RecomputeModule::kSharedExperts, f, f.shared_experts * f.shared_inter,
          model_.formats.shared, batch_.own_tp == 1 ? own_tokens_ : tokens_, batch_.own_tp);
    }
  }

  const MoeModel& model_;
  const KeptBatch& batch_;
  const Recompute& recompute_;
  double value_;
  double tokens_;
  double own_tokens_;  // of this rank, outside the split matrices
  std::array<double, kItems.size()> sums_{};
};

}  // namespace

std::vector<MemoryItem> kept_activations(const MoeModel& model, int layer, const KeptBatch& batch,
                                         const Recompute& recompute) {
  SIM_CHECK(layer >= 0 && layer < static_cast<int>(model.layers.size()), "the layer exists");
  SIM_CHECK(batch.tokens >= 0 && batch.tp > 0 && batch.own_tp > 0, "amounts are not negative");
  Kept kept(model, batch, recompute);
  if (recompute.full) kept.layer_input();
  for (const Block& block : model.layers[static_cast<std::size_t>(layer)].blocks) kept.block(block);
  return kept.items();
}

double kept_bytes_per_row(const MoeModel& model, BlockId id, int etp, const Recompute& recompute) {
  SIM_CHECK(etp > 0, "a width of tensor parallelism is positive");
  const FfnBlock& f = block_at(model, id).ffn();
  SIM_CHECK(f.routing.has_value(), "only a routed block has experts");
  if (recompute.full) return 0;
  const double value = bytes_per_value(model.formats.activations);
  const double input =
      gemm_input_bytes(model.formats.experts.multiplied, model.formats.activations);
  const double inter = share(f.expert_inter, etp);
  double bytes = static_cast<double>(model.hidden) * input;
  if (recompute.has(RecomputeModule::kExperts)) return bytes;
  bytes += static_cast<double>(f.up_matrices) * inter * value;
  if (!recompute.has(RecomputeModule::kActivation)) bytes += inter * input;
  return bytes;
}

std::vector<MemoryItem> kept_output_activations(const MoeModel& model, const KeptBatch& batch) {
  SIM_CHECK(batch.tokens >= 0 && batch.tp > 0, "amounts are not negative");
  const double value = bytes_per_value(model.formats.activations);
  const double norm = 2 * share(batch.tokens, batch.tp) * static_cast<double>(model.hidden) * value;
  const double logits =
      static_cast<double>(batch.tokens) * share(model.vocabulary, batch.tp) * value;
  if (batch.tokens == 0) return {};
  return {{"activations: final norm", Bytes(static_cast<std::int64_t>(std::ceil(norm)))},
          {"activations: logits", Bytes(static_cast<std::int64_t>(std::ceil(logits)))}};
}

Bytes recomputed_at_once(const MoeModel& model, int first_layer, int end_layer,
                         const KeptBatch& batch, double rows, int etp, const Recompute& recompute) {
  Bytes most{};
  for (int layer = first_layer; layer < end_layer; ++layer) {
    const Bytes kept = total(kept_activations(model, layer, batch, recompute));
    Bytes missing = total(kept_activations(model, layer, batch, {}));
    missing = missing > kept ? missing - kept : Bytes{};
    const auto& blocks = model.layers[static_cast<std::size_t>(layer)].blocks;
    for (std::size_t block = 0; block < blocks.size(); ++block) {
      if (blocks[block].kind() != BlockKind::kFfn || !blocks[block].ffn().routing) continue;
      const BlockId id{layer, static_cast<int>(block)};
      const double again =
          kept_bytes_per_row(model, id, etp, {}) - kept_bytes_per_row(model, id, etp, recompute);
      missing += Bytes(static_cast<std::int64_t>(std::ceil(rows * again)));
    }
    most = std::max(most, missing);
  }
  return most;
}

}  // namespace sim
