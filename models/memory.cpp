#include "models/memory.h"

#include <algorithm>
#include <array>
#include <limits>

#include "models/weights.h"
#include "sim/core/error.h"

namespace sim {

namespace {

constexpr std::size_t kItems = static_cast<std::size_t>(WeightItem::kNorms) + 1;

class WeightSum {
 public:
  WeightSum(const MoeModel& model, const WeightShare& share) : model_(model), share_(share) {}
  void add(const std::vector<Weight>& weights) {
    for (Weight w : weights) {
      const bool expert = w.item == WeightItem::kExperts;
      if (expert) w.copies = share_.expert_slots;
      sums_[static_cast<std::size_t>(w.item)] += bytes_of(model_, w,
                                                          expert        ? share_.etp
                                                          : own(w.item) ? share_.own_tp
                                                                        : share_.tp);
    }
  }
  std::vector<MemoryItem> items() const {
    std::vector<MemoryItem> result;
    for (std::size_t i = 0; i < kItems; ++i) {
      if (sums_[i] == Bytes{}) continue;
      result.push_back({"weights: " + std::string(to_text(static_cast<WeightItem>(i))), sums_[i]});
    }
    return result;
  }

 private:
  static bool own(WeightItem item) {
    return item == WeightItem::kEmbedding || item == WeightItem::kHead ||
           item == WeightItem::kShared;
  }

  const MoeModel& model_;
  const WeightShare& share_;
  std::array<Bytes, kItems> sums_{};
};

void add_item(std::vector<MemoryItem>& items, const char* name, double bytes) {
  if (bytes > 0) items.push_back({name, Bytes(static_cast<std::int64_t>(bytes))});
}

std::int64_t split(std::int64_t extent, int ways) { return (extent + ways - 1) / ways; }

// Cached values per token of one attention block on one rank.
double cached_bytes(const AttentionBlock& a, double value, int tp) {
  if (a.kind == AttentionKind::kGrouped) {
    return static_cast<double>(split(a.kv_heads, tp) * (a.head_dim + a.value_dim)) * value;
  }
  if (a.kind != AttentionKind::kLatent) return 0;
  const double index = a.indexer ? static_cast<double>(a.indexer->head_dim) + 4 : 0;
  return static_cast<double>(a.kv_rank + a.rope_dim) * value + index;
}

// Widest row pair that is alive inside a block: input and output of its widest kernel.
std::int64_t widest(const MoeModel& model, const Block& block, int tp) {
  if (block.kind() == BlockKind::kFfn) {
    const FfnBlock& f = block.ffn();
    const std::int64_t inter = std::max(f.dense_inter, f.shared_experts * f.shared_inter);
    return (f.up_matrices + 1) * split(inter, tp);
  }
  const AttentionBlock& a = block.attention();
  if (a.kind == AttentionKind::kMamba) return 4 * split(a.inner, tp);
  const std::int64_t heads = split(a.heads, tp);
  const std::int64_t kv = split(a.kv_heads, tp) * (a.head_dim + a.value_dim);
  return heads * (a.head_dim + 2 * a.value_dim) + kv + model.hidden;
}

}  // namespace

WeightShare whole_model(const MoeModel& model, int tp, int ep, int redundant_experts) {
  SIM_CHECK(tp > 0 && ep > 0 && redundant_experts >= 0, "degrees are positive");
  WeightShare share;
  share.tp = share.own_tp = tp;
  share.end_layer = static_cast<int>(model.layers.size());
  for (const BlockId id : routed_blocks(model)) {
    const std::int64_t experts = block_at(model, id).ffn().routing->experts + redundant_experts;
    share.expert_slots = std::max(share.expert_slots, static_cast<int>(split(experts, ep)));
  }
  return share;
}

std::vector<MemoryItem> weight_memory(const MoeModel& model, const WeightShare& share) {
  SIM_CHECK(share.first_layer >= 0 && share.end_layer <= static_cast<int>(model.layers.size()),
            "the layers exist");
  WeightSum sum(model, share);
  if (share.embedding || (share.head && model.tied_embeddings)) sum.add(input_weights(model));
  for (int layer = share.first_layer; layer < share.end_layer; ++layer) {
    const std::size_t blocks = model.layers[static_cast<std::size_t>(layer)].blocks.size();
    for (int block = 0; block < static_cast<int>(blocks); ++block) {
      sum.add(block_weights(model, {layer, block}));
    }
  }
  if (share.head) sum.add(output_weights(model));
  return sum.items();
}

std::vector<MemoryItem> kv_memory(const MoeModel& model, std::span<const std::int64_t> contexts,
                                  int tp, int first_layer, int end_layer) {
  SIM_CHECK(tp > 0 && first_layer >= 0 && end_layer <= static_cast<int>(model.layers.size()),
            "the layers exist");
  double cache = 0;
  double states = 0;
  // Few layers differ, so contexts are summed once per window.
  std::vector<std::pair<std::int64_t, double>> tokens_of;
  const auto tokens = [&](std::int64_t window) {
    for (const auto& [known, sum] : tokens_of) {
      if (known == window) return sum;
    }
    double sum = 0;
    for (const std::int64_t context : contexts) {
      sum += static_cast<double>(std::min(context, window));
    }
    tokens_of.emplace_back(window, sum);
    return sum;
  };
  for (int layer = first_layer; layer < end_layer; ++layer) {
    for (const Block& block : model.layers[static_cast<std::size_t>(layer)].blocks) {
      if (block.kind() != BlockKind::kAttention) continue;
      const AttentionBlock& a = block.attention();
      const std::int64_t window = a.window.value_or(std::numeric_limits<std::int64_t>::max());
      cache += cached_bytes(a, bytes_per_value(model.formats.kv_cache), tp) * tokens(window);
    }
    states += static_cast<double>(state_bytes_per_sequence(model, layer).count()) / tp *
              static_cast<double>(contexts.size());
  }
  std::vector<MemoryItem> items;
  add_item(items, "kv cache", cache);
  add_item(items, "recurrent states", states);
  return items;
}

std::vector<MemoryItem> activation_memory(const MoeModel& model, std::int64_t tokens,
                                          std::int64_t logit_rows, int tp) {
  SIM_CHECK(tp > 0 && tokens >= 0 && logit_rows >= 0, "amounts are not negative");
  std::int64_t width = 0;
  std::int64_t top_k = 0;
  for (const Layer& layer : model.layers) {
    for (const Block& block : layer.blocks) {
      width = std::max(width, widest(model, block, tp));
      if (block.kind() == BlockKind::kFfn && block.ffn().routing) {
        top_k = std::max(top_k, block.ffn().routing->top_k);
      }
    }
  }
  const double value = bytes_per_value(model.formats.activations);
  const double rows = static_cast<double>(tokens);
  std::vector<MemoryItem> items;
  add_item(items, "activations: residual and hidden",
           2 * rows * static_cast<double>(model.hidden) * value);
  add_item(items, "activations: widest block", rows * static_cast<double>(width) * value);
  add_item(items, "activations: rows of the chosen experts",
           rows * static_cast<double>(top_k * model.hidden) * value);
  add_item(items, "activations: logits",
           static_cast<double>(logit_rows) * static_cast<double>(split(model.vocabulary, tp)) * 4);
  return items;
}

Bytes total(std::span<const MemoryItem> items) {
  Bytes sum{};
  for (const MemoryItem& item : items) sum += item.bytes;
  return sum;
}

}  // namespace sim
