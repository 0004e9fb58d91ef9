#include "models/moe_model.h"

#include <fmt/format.h>

#include "models/weights.h"
#include "sim/core/error.h"

namespace sim {

namespace {

// Bounds that keep every product of sizes inside int64; real models stay far below.
constexpr std::int64_t kLargestWidth = 1 << 20;
constexpr std::int64_t kLargestVocabulary = 1 << 24;
constexpr std::int64_t kMostExperts = 1 << 16;
constexpr std::int64_t kMostHeads = 1 << 14;
constexpr std::size_t kMostLayers = 4096;
constexpr std::size_t kMostBlocks = 16;
constexpr std::size_t kMostMistakes = 20;  // alternating layers repeat theirs

class Checker {
 public:
  explicit Checker(std::vector<std::string>& out) : out_(out) {}
  void at(std::string where) { where_ = std::move(where); }
  void add(const std::string& message) { out_.push_back(where_ + message); }
  // `value` must lie in [least, most].
  bool range(std::string_view what, std::int64_t value, std::int64_t least, std::int64_t most) {
    if (value >= least && value <= most) return true;
    add(fmt::format("{} is {}, but must lie between {} and {}", what, value, least, most));
    return false;
  }

 private:
  std::vector<std::string>& out_;
  std::string where_;
};

void check_routing(Checker& check, const Routing& r) {
  if (!check.range("experts", r.experts, 1, kMostExperts)) return;
  check.range("top_k", r.top_k, 1, r.experts);
  if (!check.range("groups", r.groups, 1, r.experts)) return;
  if (!check.range("top_groups", r.top_groups, 1, r.groups)) return;
  if (r.experts % r.groups != 0) {
    check.add(fmt::format("{} experts do not divide into {} groups", r.experts, r.groups));
  } else if (r.top_k > r.experts / r.groups * r.top_groups) {
    check.add(fmt::format("top_k {} is more than {} groups of {} experts offer", r.top_k,
                          r.top_groups, r.experts / r.groups));
  }
}

void check_softmax(Checker& check, const AttentionBlock& a) {
  if (a.kind == AttentionKind::kLatent) {
    check.range("q_rank", a.q_rank, 0, kLargestWidth);
    check.range("kv_rank", a.kv_rank, 1, kLargestWidth);
    check.range("nope_dim", a.nope_dim, 1, kLargestWidth);
    check.range("rope_dim", a.rope_dim, 0, kLargestWidth);
    if (a.head_dim != a.nope_dim + a.rope_dim) {
      check.add(fmt::format("head_dim {} is not nope_dim {} + rope_dim {}", a.head_dim, a.nope_dim,
                            a.rope_dim));
    }
  } else if (a.heads > 0 && a.kv_heads > 0 && a.heads % a.kv_heads != 0) {
    check.add(fmt::format("{} heads do not divide into {} key-value heads", a.heads, a.kv_heads));
  }
  if (a.window) check.range("window", *a.window, 1, std::int64_t{1} << 40);
  if (a.chunked && !a.window) check.add("chunked attention needs a window");
  check.range("position_buckets", a.position_buckets, 0, 1 << 16);
  if (a.indexer) {
    if (a.kind != AttentionKind::kLatent) check.add("an indexer needs latent attention");
    check.range("indexer heads", a.indexer->heads, 1, kMostHeads);
    check.range("indexer head_dim", a.indexer->head_dim, 1, 1 << 14);
    check.range("indexer top_k", a.indexer->top_k, 1, std::int64_t{1} << 40);
  }
  if (a.routing) {
    check_routing(check, *a.routing);
    if (a.kind != AttentionKind::kGrouped) check.add("only grouped attention may be routed");
    if (a.routing->top_k > 0 && a.heads % a.routing->top_k != 0) {
      check.add(fmt::format("{} heads do not divide into top_k {}", a.heads, a.routing->top_k));
    }
  }
}

void check_attention(Checker& check, const AttentionBlock& a) {
  if (a.kind == AttentionKind::kMamba) {
    check.range("inner", a.inner, 1, kLargestWidth);
    check.range("state", a.state, 1, 1 << 16);
    check.range("conv_kernel", a.conv_kernel, 1, 1 << 16);
    check.range("step_rank", a.step_rank, 1, kLargestWidth);
    return;
  }
  bool sound = check.range("heads", a.heads, 1, kMostHeads);
  sound = check.range("kv_heads", a.kv_heads, 1, kMostHeads) && sound;
  sound = check.range("head_dim", a.head_dim, 1, kLargestWidth) && sound;
  sound = check.range("value_dim", a.value_dim, 1, kLargestWidth) && sound;
  if (sound) {
    check.range("heads x head_dim", a.heads * a.head_dim, 1, kLargestWidth);
    check.range("heads x value_dim", a.heads * a.value_dim, 1, kLargestWidth);
    check.range("kv_heads x head_dim", a.kv_heads * a.head_dim, 1, kLargestWidth);
    check.range("kv_heads x value_dim", a.kv_heads * a.value_dim, 1, kLargestWidth);
  }
  if (a.kind == AttentionKind::kGatedDelta) {
    check.range("conv_kernel", a.conv_kernel, 1, 1 << 16);
  } else {
    check_softmax(check, a);
  }
}

// Sums of weights must fit int64 too.
void check_total(Checker& check, const MoeModel& model) {
  constexpr double kMostParameters = 1e15;
  double total = 0;
  for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {
    for (std::size_t block = 0; block < model.layers[layer].blocks.size(); ++block) {
      for (const Weight& w :
           block_weights(model, {static_cast<int>(layer), static_cast<int>(block)})) {
        total += static_cast<double>(w.rows) * static_cast<double>(w.columns) *
                 static_cast<double>(w.copies);
      }
    }
  }
  check.at("");
  if (total > kMostParameters) {
    check.add(fmt::format("{:.3g} parameters are more than {:.0e}", total, kMostParameters));
  }
}

void check_ffn(Checker& check, const FfnBlock& f) {
  check.range("dense_inter", f.dense_inter, 0, kLargestWidth);
  check.range("up_matrices", f.up_matrices, 1, 3);
  if (f.dense_inter == 0 && !f.routing) check.add("an FFN needs dense_inter or experts");
  if (!f.routing) {
    if (f.shared_experts > 0) check.add("shared experts need routed ones; use dense_inter");
    return;
  }
  check_routing(check, *f.routing);
  check.range("expert_inter", f.expert_inter, 1, kLargestWidth);
  if (!check.range("shared_experts", f.shared_experts, 0, 1024)) return;
  check.range("shared_inter", f.shared_inter, f.shared_experts > 0 ? 1 : 0, kLargestWidth);
}

}  // namespace

const Block& block_at(const MoeModel& model, BlockId id) {
  SIM_CHECK(id.layer >= 0 && id.layer < static_cast<int>(model.layers.size()), "the layer exists");
  const Layer& layer = model.layers[static_cast<std::size_t>(id.layer)];
  SIM_CHECK(id.block >= 0 && id.block < static_cast<int>(layer.blocks.size()), "the block exists");
  return layer.blocks[static_cast<std::size_t>(id.block)];
}

std::vector<BlockId> routed_blocks(const MoeModel& model) {
  std::vector<BlockId> result;
  for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {
    const std::vector<Block>& blocks = model.layers[layer].blocks;
    for (std::size_t block = 0; block < blocks.size(); ++block) {
      if (blocks[block].kind() == BlockKind::kFfn && blocks[block].ffn().routing) {
        result.push_back({static_cast<int>(layer), static_cast<int>(block)});
      }
    }
  }
  return result;
}

Bytes kv_bytes_per_token(const MoeModel& model, int layer) {
  const double value = bytes_per_value(model.formats.kv_cache);
  double total = 0;
  for (const Block& block : model.layers.at(static_cast<std::size_t>(layer)).blocks) {
    if (block.kind() != BlockKind::kAttention) continue;
    const AttentionBlock& a = block.attention();
    if (a.kind == AttentionKind::kGrouped) {
      total += static_cast<double>(a.kv_heads * (a.head_dim + a.value_dim)) * value;
    } else if (a.kind == AttentionKind::kLatent) {
      total += static_cast<double>(a.kv_rank + a.rope_dim) * value;
      if (a.indexer) total += static_cast<double>(a.indexer->head_dim) + 4;
    }
  }
  return Bytes(static_cast<std::int64_t>(total));
}

Bytes state_bytes_per_sequence(const MoeModel& model, int layer) {
  const double value = bytes_per_value(model.formats.activations);
  double total = 0;
  for (const Block& block : model.layers.at(static_cast<std::size_t>(layer)).blocks) {
    if (block.kind() != BlockKind::kAttention) continue;
    const AttentionBlock& a = block.attention();
    std::int64_t states = 0;
    std::int64_t convolved = 0;
    if (a.kind == AttentionKind::kGatedDelta) {
      states = a.heads * a.head_dim * a.value_dim;
      convolved = 2 * a.kv_heads * a.head_dim + a.heads * a.value_dim;
    } else if (a.kind == AttentionKind::kMamba) {
      states = a.inner * a.state;
      convolved = a.inner;
    } else {
      continue;
    }
    total += static_cast<double>(states) * 4;
    total += static_cast<double>(convolved * (a.conv_kernel - 1)) * value;
  }
  return Bytes(static_cast<std::int64_t>(total));
}

std::vector<std::string> model_mistakes(const MoeModel& model) {
  std::vector<std::string> result;
  Checker check(result);
  check.range("hidden", model.hidden, 1, kLargestWidth);
  check.range("vocabulary", model.vocabulary, 1, kLargestVocabulary);
  check.range("max_context", model.max_context, 1, std::int64_t{1} << 40);
  if (model.layers.empty()) check.add("a model needs layers");
  if (model.layers.size() > kMostLayers) {
    check.add(fmt::format("{} layers are more than {}", model.layers.size(), kMostLayers));
    return result;
  }
  for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {
    const std::vector<Block>& blocks = model.layers[layer].blocks;
    check.at(fmt::format("layer {}: ", layer));
    if (blocks.empty()) check.add("a layer needs blocks");
    if (blocks.size() > kMostBlocks) check.add(fmt::format("more than {} blocks", kMostBlocks));
    for (std::size_t b = 0; b < blocks.size(); ++b) {
      // Repeated layers repeat their mistakes; the first one says it.
      if (layer > 0 && model.layers[layer] == model.layers[layer - 1]) continue;
      check.at(fmt::format("layer {}, block {}: ", layer, b));
      check.range("norms", blocks[b].norms, 0, 16);
      if (blocks[b].kind() == BlockKind::kAttention) {
        check_attention(check, blocks[b].attention());
      } else {
        check_ffn(check, blocks[b].ffn());
      }
    }
  }
  if (result.empty()) check_total(check, model);
  if (result.size() > kMostMistakes) {
    result.resize(kMostMistakes);
    result.push_back("and more of the kind");
  }
  return result;
}

}  // namespace sim
