#include "models/weights.h"

#include "sim/core/error.h"

namespace sim {

namespace {

using Weights = std::vector<Weight>;

void add_vector(Weights& out, std::string_view name, WeightItem item, std::int64_t size,
                Split split = Split::kNone, std::int64_t unit = 1, std::int64_t copies = 1,
                std::int64_t active = 1) {
  if (size > 0) {
    out.push_back({name, item, 1, size, split == Split::kRows ? Split::kColumns : split, unit,
                   copies, active});
  }
}

void add_router(Weights& out, const Routing& routing, std::int64_t hidden, WeightItem item) {
  out.push_back({"router", item, routing.experts, hidden});
  if (routing.bias) add_vector(out, "router.bias", item, routing.experts);
  if (routing.correction_bias) {
    add_vector(out, "router.correction_bias", item, routing.experts);
  }
  if (routing.expert_scale) add_vector(out, "router.expert_scale", item, routing.experts);
  if (routing.input_scale) add_vector(out, "router.input_scale", item, hidden);
}

void add_grouped(Weights& out, const AttentionBlock& a, std::int64_t hidden) {
  constexpr WeightItem kItem = WeightItem::kAttention;
  const std::int64_t copies = a.routing ? a.routing->experts : 1;
  const std::int64_t active = a.routing ? a.routing->top_k : 1;
  const std::int64_t heads = a.heads / active;  // each chosen expert computes its share of heads
  const std::int64_t q = heads * a.head_dim + (a.output_gate ? heads * a.value_dim : 0);
  const std::int64_t k = a.kv_heads * a.head_dim;
  const std::int64_t v = a.values_are_keys ? 0 : a.kv_heads * a.value_dim;
  if (a.routing) add_router(out, *a.routing, hidden, kItem);
  out.push_back({"q_proj", kItem, q, hidden, Split::kRows, q / heads, copies, active});
  out.push_back({"k_proj", kItem, k, hidden, Split::kRows, a.head_dim});
  if (v > 0) out.push_back({"v_proj", kItem, v, hidden, Split::kRows, a.value_dim});
  out.push_back(
      {"o_proj", kItem, hidden, heads * a.value_dim, Split::kColumns, a.value_dim, copies, active});
  if (a.qkv_bias) {
    add_vector(out, "q_proj.bias", kItem, q, Split::kRows, q / heads, copies, active);
    add_vector(out, "k_proj.bias", kItem, k, Split::kRows, a.head_dim);
    add_vector(out, "v_proj.bias", kItem, v, Split::kRows, a.value_dim);
  }
  if (a.output_bias) add_vector(out, "o_proj.bias", kItem, hidden);
  if (a.qk_norm == QkNorm::kPerHead) add_vector(out, "qk_norm", kItem, 2 * a.head_dim);
  if (a.qk_norm == QkNorm::kFullWidth) {
    add_vector(out, "q_norm", kItem, a.heads * a.head_dim);
    add_vector(out, "k_norm", kItem, k);
  }
  if (a.sinks) add_vector(out, "sinks", kItem, a.heads, Split::kRows);
  add_vector(out, "relative_position", kItem, a.position_buckets * a.heads, Split::kRows);
}

void add_latent(Weights& out, const AttentionBlock& a, std::int64_t hidden) {
  constexpr WeightItem kItem = WeightItem::kAttention;
  const std::int64_t q = a.heads * a.head_dim;
  const std::int64_t kv_a = a.kv_rank + a.rope_dim;
  if (a.q_rank > 0) {
    out.push_back({"q_a_proj", kItem, a.q_rank, hidden});
    add_vector(out, "q_a_norm", kItem, a.q_rank);
    out.push_back({"q_b_proj", kItem, q, a.q_rank, Split::kRows, a.head_dim});
  } else {
    out.push_back({"q_proj", kItem, q, hidden, Split::kRows, a.head_dim});
  }
  out.push_back({"kv_a_proj", kItem, kv_a, hidden});
  add_vector(out, "kv_a_norm", kItem, a.kv_rank);
  const std::int64_t per_head = a.nope_dim + a.value_dim;
  out.push_back({"kv_b_proj", kItem, a.heads * per_head, a.kv_rank, Split::kRows, per_head});
  out.push_back({"o_proj", kItem, hidden, a.heads * a.value_dim, Split::kColumns, a.value_dim});
  if (a.qkv_bias) {
    add_vector(out, "q_a_proj.bias", kItem, a.q_rank);
    add_vector(out, "kv_a_proj.bias", kItem, kv_a);
  }
  if (a.output_bias) add_vector(out, "o_proj.bias", kItem, hidden);
  if (a.indexer) {
    const Indexer& index = *a.indexer;
    out.push_back(
        {"index_q_proj", kItem, index.heads * index.head_dim, a.q_rank > 0 ? a.q_rank : hidden});
    out.push_back({"index_k_proj", kItem, index.head_dim, hidden});
    add_vector(out, "index_k_norm", kItem, 2 * index.head_dim);
    out.push_back({"index_weights_proj", kItem, index.heads, hidden});
  }
}

void add_gated_delta(Weights& out, const AttentionBlock& a, std::int64_t hidden) {
  constexpr WeightItem kItem = WeightItem::kAttention;
  const std::int64_t keys = a.kv_heads * a.head_dim;
  const std::int64_t values = a.heads * a.value_dim;
  out.push_back({"qkvz_proj", kItem, 2 * keys + 2 * values, hidden, Split::kRows});
  out.push_back({"ba_proj", kItem, 2 * a.heads, hidden, Split::kRows});
  out.push_back({"conv", kItem, 2 * keys + values, a.conv_kernel, Split::kRows});
  add_vector(out, "dt_bias", kItem, a.heads, Split::kRows);
  add_vector(out, "a_log", kItem, a.heads, Split::kRows);
  add_vector(out, "output_norm", kItem, a.value_dim);
  out.push_back({"o_proj", kItem, hidden, values, Split::kColumns});
}

void add_mamba(Weights& out, const AttentionBlock& a, std::int64_t hidden) {
  constexpr WeightItem kItem = WeightItem::kAttention;
  out.push_back({"in_proj", kItem, 2 * a.inner, hidden, Split::kRows});
  out.push_back({"conv", kItem, a.inner, a.conv_kernel, Split::kRows});
  add_vector(out, "conv.bias", kItem, a.inner, Split::kRows);
  out.push_back({"x_proj", kItem, a.step_rank + 2 * a.state, a.inner, Split::kColumns});
  add_vector(out, "inner_norms", kItem, a.step_rank + 2 * a.state);
  out.push_back({"dt_proj", kItem, a.inner, a.step_rank, Split::kRows});
  add_vector(out, "dt_proj.bias", kItem, a.inner, Split::kRows);
  out.push_back({"a_log", kItem, a.inner, a.state, Split::kRows});
  add_vector(out, "d", kItem, a.inner, Split::kRows);
  out.push_back({"out_proj", kItem, hidden, a.inner, Split::kColumns});
}

struct FfnNames {
  std::string_view up, up_bias, down, down_bias;
};

void add_mlp(Weights& out, const FfnNames& names, WeightItem item, const FfnBlock& f,
             std::int64_t hidden, std::int64_t inter, std::int64_t copies, std::int64_t active) {
  const std::int64_t up = f.up_matrices * inter;
  const std::int64_t unit = f.up_matrices;
  out.push_back({names.up, item, up, hidden, Split::kRows, unit, copies, active});
  out.push_back({names.down, item, hidden, inter, Split::kColumns, 1, copies, active});
  if (f.bias) {
    add_vector(out, names.up_bias, item, up, Split::kRows, unit, copies, active);
    add_vector(out, names.down_bias, item, hidden, Split::kNone, 1, copies, active);
  }
}

void add_ffn(Weights& out, const FfnBlock& f, std::int64_t hidden) {
  if (f.dense_inter > 0) {
    add_mlp(out, {"dense_up", "dense_up.bias", "dense_down", "dense_down.bias"}, WeightItem::kDense,
            f, hidden, f.dense_inter, 1, 1);
  }
  if (!f.routing) return;
  add_router(out, *f.routing, hidden, WeightItem::kRouter);
  add_mlp(out, {"expert_up", "expert_up.bias", "expert_down", "expert_down.bias"},
          WeightItem::kExperts, f, hidden, f.expert_inter, f.routing->experts, f.routing->top_k);
  if (f.shared_experts > 0) {
    add_mlp(out, {"shared_up", "shared_up.bias", "shared_down", "shared_down.bias"},
            WeightItem::kShared, f, hidden, f.shared_experts * f.shared_inter, 1, 1);
    if (f.shared_gate) out.push_back({"shared_gate", WeightItem::kShared, 1, hidden});
  }
}

std::int64_t norm_size(const MoeModel& model) { return model.hidden * (model.norm_bias ? 2 : 1); }

std::int64_t shard(std::int64_t extent, std::int64_t unit, int tp) {
  const std::int64_t units = (extent + unit - 1) / unit;
  return std::min(extent, (units + tp - 1) / tp * unit);
}

struct Extent {
  std::int64_t rows = 0;
  std::int64_t columns = 0;
};

// Of a tensor on one of `tp` ranks.
Extent part_of(const Weight& w, int tp) {
  SIM_CHECK(tp > 0, "a width of tensor parallelism is positive");
  return {w.split == Split::kRows ? shard(w.rows, w.unit, tp) : w.rows,
          w.split == Split::kColumns ? shard(w.columns, w.unit, tp) : w.columns};
}

const WeightFormat& format_of(const ModelFormats& formats, WeightItem item) {
  switch (item) {
    case WeightItem::kAttention:
      return formats.attention.stored;
    case WeightItem::kDense:
      return formats.dense.stored;
    case WeightItem::kRouter:
      return formats.router.stored;
    case WeightItem::kExperts:
      return formats.experts.stored;
    case WeightItem::kShared:
      return formats.shared.stored;
    default:
      return formats.embeddings.stored;
  }
}

template <class Amount>
ParameterCount sum(const MoeModel& model, Amount amount) {
  ParameterCount count;
  const auto add = [&](const Weights& weights) {
    for (const Weight& w : weights) count.of(w.item) += amount(w);
  };
  add(input_weights(model));
  for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {
    for (std::size_t block = 0; block < model.layers[layer].blocks.size(); ++block) {
      add(block_weights(model, {static_cast<int>(layer), static_cast<int>(block)}));
    }
  }
  add(output_weights(model));
  return count;
}

}  // namespace

std::string_view to_text(WeightItem item) {
  switch (item) {
    case WeightItem::kEmbedding:
      return "embedding";
    case WeightItem::kHead:
      return "lm_head";
    case WeightItem::kAttention:
      return "attention";
    case WeightItem::kDense:
      return "dense_ffn";
    case WeightItem::kRouter:
      return "router";
    case WeightItem::kExperts:
      return "routed_experts";
    case WeightItem::kShared:
      return "shared_experts";
    case WeightItem::kNorms:
      return "norms";
  }
  SIM_CHECK(false, "every item has a name");
}

std::vector<Weight> block_weights(const MoeModel& model, BlockId id) {
  Weights out;
  const Block& block = block_at(model, id);
  add_vector(out, "norm", WeightItem::kNorms, block.norms * norm_size(model));
  if (block.kind() == BlockKind::kFfn) {
    add_ffn(out, block.ffn(), model.hidden);
    return out;
  }
  const AttentionBlock& a = block.attention();
  switch (a.kind) {
    case AttentionKind::kGrouped:
      add_grouped(out, a, model.hidden);
      break;
    case AttentionKind::kLatent:
      add_latent(out, a, model.hidden);
      break;
    case AttentionKind::kGatedDelta:
      add_gated_delta(out, a, model.hidden);
      break;
    case AttentionKind::kMamba:
      add_mamba(out, a, model.hidden);
      break;
  }
  return out;
}

std::vector<Weight> input_weights(const MoeModel& model) {
  return {{"embedding", WeightItem::kEmbedding, model.vocabulary, model.hidden, Split::kRows}};
}

std::vector<Weight> output_weights(const MoeModel& model) {
  Weights out;
  bool encoder = false;
  for (const Layer& layer : model.layers) encoder = encoder || layer.stack == Stack::kEncoder;
  add_vector(out, "final_norm", WeightItem::kNorms, norm_size(model) * (encoder ? 2 : 1));
  if (!model.tied_embeddings) {
    out.push_back({"lm_head", WeightItem::kHead, model.vocabulary, model.hidden, Split::kRows});
  }
  if (model.head_bias) {
    add_vector(out, "lm_head.bias", WeightItem::kHead, model.vocabulary, Split::kRows);
  }
  return out;
}

Bytes bytes_of(const MoeModel& model, const Weight& w, int tp) {
  const Extent part = part_of(w, tp);
  const WeightFormat format =
      w.rows == 1 ? usual_format(model.formats.activations) : format_of(model.formats, w.item);
  return stored_bytes(format, part.rows, part.columns) * w.copies;
}

std::int64_t values_of(const Weight& w, int tp) {
  const Extent part = part_of(w, tp);
  return part.rows * part.columns * w.copies;
}

std::int64_t& ParameterCount::of(WeightItem item) {
  switch (item) {
    case WeightItem::kEmbedding:
      return embedding;
    case WeightItem::kHead:
      return head;
    case WeightItem::kAttention:
      return attention;
    case WeightItem::kDense:
      return dense;
    case WeightItem::kRouter:
      return router;
    case WeightItem::kExperts:
      return experts;
    case WeightItem::kShared:
      return shared;
    case WeightItem::kNorms:
      return norms;
  }
  SIM_CHECK(false, "every item is counted");
}

std::int64_t ParameterCount::total() const {
  return embedding + head + attention + dense + router + experts + shared + norms;
}

ParameterCount parameter_count(const MoeModel& model) {
  return sum(model, [](const Weight& w) { return w.rows * w.columns * w.copies; });
}

ParameterCount active_parameter_count(const MoeModel& model) {
  return sum(model, [](const Weight& w) { return w.rows * w.columns * w.active; });
}

Bytes expert_bytes(const MoeModel& model, BlockId id, int etp) {
  Bytes total{};
  for (Weight w : block_weights(model, id)) {
    if (w.item != WeightItem::kExperts) continue;
    w.copies = 1;
    total += bytes_of(model, w, etp);
  }
  SIM_CHECK(total > Bytes{}, "only a routed block has experts");
  return total;
}

}  // namespace sim
