#include "models/describe.h"

#include <fmt/format.h>

#include <algorithm>

#include "models/weights.h"

namespace sim {

namespace {

std::string billions(std::int64_t count) {
  return fmt::format("{:.3f} B", static_cast<double>(count) / 1e9);
}

std::string attention_text(const AttentionBlock& a) {
  std::string text;
  switch (a.kind) {
    case AttentionKind::kGrouped:
      text = fmt::format("{} heads of {}, {} key-value heads", a.heads, a.head_dim, a.kv_heads);
      if (a.cross) text = "cross attention, " + text;
      break;
    case AttentionKind::kLatent:
      text = fmt::format("MLA, {} heads of {}+{}, ranks {} and {}", a.heads, a.nope_dim, a.rope_dim,
                         a.q_rank, a.kv_rank);
      break;
    case AttentionKind::kGatedDelta:
      return fmt::format("gated delta net, {} value heads of {}, {} key heads of {}", a.heads,
                         a.value_dim, a.kv_heads, a.head_dim);
    case AttentionKind::kMamba:
      return fmt::format("Mamba, {} wide with {} states", a.inner, a.state);
  }
  if (a.window) text += fmt::format(", {} of {}", a.chunked ? "chunks" : "window", *a.window);
  if (a.indexer) text += fmt::format(", sparse: top {} keys", a.indexer->top_k);
  if (a.routing)
    text += fmt::format(", top {} of {} experts", a.routing->top_k, a.routing->experts);
  return text;
}

std::string ffn_text(const FfnBlock& f) {
  std::string text;
  if (f.dense_inter > 0) text = fmt::format("dense FFN of {}", f.dense_inter);
  if (!f.routing) return text;
  const Routing& r = *f.routing;
  if (!text.empty()) text += " and ";
  text += fmt::format("top {} of {} experts of {}", r.top_k, r.experts, f.expert_inter);
  if (r.groups > 1) text += fmt::format(" in {} of {} groups", r.top_groups, r.groups);
  if (f.shared_experts > 0) {
    text += fmt::format(", {} shared of {}", f.shared_experts, f.shared_inter);
  }
  return text;
}

std::string layer_text(const Layer& layer) {
  std::string text = layer.stack == Stack::kEncoder ? "encoder: " : "";
  for (std::size_t i = 0; i < layer.blocks.size(); ++i) {
    const Block& block = layer.blocks[i];
    if (i > 0) text += "; ";
    text += block.kind() == BlockKind::kAttention ? attention_text(block.attention())
                                                  : ffn_text(block.ffn());
  }
  return text;
}

std::string counts_text(const ParameterCount& all, const ParameterCount& active) {
  const auto row = [](const char* name, std::int64_t a, std::int64_t b) {
    return a == 0 ? std::string()
                  : fmt::format("  {:<16}{:>14}{:>14}\n", name, billions(a), billions(b));
  };
  return fmt::format("{:<18}{:>14}{:>14}\n", "parameters", "all", "per token") +
         row("embedding", all.embedding, active.embedding) + row("lm head", all.head, active.head) +
         row("attention", all.attention, active.attention) +
         row("dense ffn", all.dense, active.dense) + row("router", all.router, active.router) +
         row("routed experts", all.experts, active.experts) +
         row("shared experts", all.shared, active.shared) + row("norms", all.norms, active.norms) +
         row("total", all.total(), active.total());
}

}  // namespace

std::string describe(const MoeModel& model) {
  std::string text = fmt::format("{}\nsource: {}\n", model.name, model.source);
  for (const std::string& note : model.notes) text += fmt::format("note: {}\n", note);
  text += fmt::format("hidden {}, vocabulary {}{}, context up to {}\n", model.hidden,
                      model.vocabulary, model.tied_embeddings ? " (tied)" : "", model.max_context);
  const auto group = [](const char* name, const GroupFormat& g) {
    return fmt::format(", {} {} x {}", name, to_text(g.stored.dtype), to_text(g.multiplied));
  };
  text += fmt::format("formats (stored x multiplied): activations {}, kv cache {}{}{}{}\n",
                      to_text(model.formats.activations), to_text(model.formats.kv_cache),
                      group("attention", model.formats.attention),
                      group("dense", model.formats.dense), group("experts", model.formats.experts));
  text += fmt::format("{} layers:\n", model.layers.size());
  std::vector<std::pair<std::string, int>> kinds;  // in the order of first appearance
  for (const Layer& layer : model.layers) {
    const std::string kind = layer_text(layer);
    auto found = std::find_if(kinds.begin(), kinds.end(),
                              [&](const auto& known) { return known.first == kind; });
    if (found == kinds.end()) found = kinds.insert(kinds.end(), {kind, 0});
    ++found->second;
  }
  for (const auto& [kind, count] : kinds) text += fmt::format("  {:>3} x  {}\n", count, kind);
  std::int64_t cached = 0;
  std::int64_t states = 0;
  for (int layer = 0; layer < static_cast<int>(model.layers.size()); ++layer) {
    cached += kv_bytes_per_token(model, layer).count();
    states += state_bytes_per_sequence(model, layer).count();
  }
  text += fmt::format("kv cache: {} bytes per token", cached);
  if (states > 0) text += fmt::format(", {} bytes per sequence", states);
  return text + "\n" + counts_text(parameter_count(model), active_parameter_count(model));
}

}  // namespace sim
