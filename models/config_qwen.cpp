// Qwen's mixtures: Qwen1.5/2-MoE, Qwen3-MoE, and the hybrids with gated delta nets.
#include <fmt/format.h>

#include <algorithm>

#include "models/config_families.h"

namespace sim {

namespace {

FfnBlock dense_of(const ConfigFields& config) {
  FfnBlock ffn;
  ffn.dense_inter = config.count("intermediate_size");
  return ffn;
}

FfnBlock routed(const ConfigFields& config) {
  FfnBlock ffn;
  ffn.routing = Routing{};
  ffn.routing->experts = config.count("num_experts");
  ffn.routing->top_k = config.count("num_experts_per_tok");
  ffn.expert_inter = config.count("moe_intermediate_size");
  ffn.shared_inter = config.count_or("shared_expert_intermediate_size", 0);
  ffn.shared_experts = ffn.shared_inter > 0 ? 1 : 0;
  ffn.shared_gate = ffn.shared_inter > 0;
  return ffn;
}

// Layers without experts: listed, or off the sparse step.
std::vector<bool> routed_layers(const ConfigFields& config, std::int64_t layers) {
  const std::int64_t step = config.count_or("decoder_sparse_step", 1);
  const std::vector<std::int64_t> dense = config.counts("mlp_only_layers");
  if (step < 1) config.mistake("decoder_sparse_step", "'decoder_sparse_step' must be at least 1");
  std::vector<bool> result;
  for (std::int64_t i = 0; i < layers; ++i) {
    const bool listed = std::find(dense.begin(), dense.end(), i) != dense.end();
    result.push_back(!listed && step > 0 && (i + 1) % step == 0);
  }
  return result;
}

}  // namespace

void read_qwen_moe(const ConfigFields& config, MoeModel& model) {
  read_sizes(config, model);
  AttentionBlock attention = read_grouped(config);
  const bool second = config.text_or("model_type", "") == "qwen2_moe";
  if (second) {
    attention.qkv_bias = config.flag_assumed("qkv_bias", true);
  } else {
    attention.qkv_bias = attention.output_bias = config.flag_or("attention_bias", false);
    attention.qk_norm = QkNorm::kPerHead;
  }
  const std::int64_t layers = read_layer_count(config, "num_hidden_layers");
  const std::int64_t windowed_from = config.count_or("max_window_layers", layers);
  const bool windows = config.flag_or("use_sliding_window", false);
  const std::vector<bool> is_routed = routed_layers(config, layers);
  const FfnBlock sparse = routed(config);
  const bool any_dense = std::find(is_routed.begin(), is_routed.end(), false) != is_routed.end();
  const FfnBlock dense = any_dense ? dense_of(config) : FfnBlock{};
  for (std::int64_t i = 0; i < layers; ++i) {
    AttentionBlock here = attention;
    if (windows && i >= windowed_from) here.window = config.count("sliding_window");
    add_layers(model, 1, here, is_routed[static_cast<std::size_t>(i)] ? sparse : dense);
  }
}

void read_qwen_next(const ConfigFields& config, MoeModel& model) {
  read_sizes(config, model);
  AttentionBlock full = read_grouped(config);
  full.qkv_bias = full.output_bias = config.flag_or("attention_bias", false);
  full.qk_norm = QkNorm::kPerHead;
  full.output_gate = config.flag_or("attn_output_gate", true);
  AttentionBlock linear;
  linear.kind = AttentionKind::kGatedDelta;
  linear.heads = config.count("linear_num_value_heads");
  linear.kv_heads = config.count("linear_num_key_heads");
  linear.head_dim = config.count("linear_key_head_dim");
  linear.value_dim = config.count("linear_value_head_dim");
  linear.conv_kernel = config.count("linear_conv_kernel_dim");
  const std::int64_t layers = read_layer_count(config, "num_hidden_layers");
  const std::int64_t interval =
      std::max<std::int64_t>(1, config.count_or("full_attention_interval", 4));
  const std::vector<std::string> types = config.texts("layer_types");
  if (config.has("layer_types") && static_cast<std::int64_t>(types.size()) != layers) {
    config.mistake("layer_types",
                   fmt::format("layer_types must name the kind of all {} layers", layers));
    return;
  }
  const std::vector<bool> is_routed = routed_layers(config, layers);
  const FfnBlock sparse = routed(config);
  const bool any_dense = std::find(is_routed.begin(), is_routed.end(), false) != is_routed.end();
  const FfnBlock dense = any_dense ? dense_of(config) : FfnBlock{};
  for (std::int64_t i = 0; i < layers; ++i) {
    const std::size_t at = static_cast<std::size_t>(i);
    bool is_full = (i + 1) % interval == 0;
    if (!types.empty()) {
      is_full = types[at] == "full_attention";
      if (!is_full && types[at] != "linear_attention") {
        config.mistake("layer_types", fmt::format("the layer type '{}' is not known", types[at]),
                       "possible: linear_attention, full_attention");
        return;
      }
    }
    add_layers(model, 1, is_full ? full : linear, is_routed[at] ? sparse : dense);
  }
}

}  // namespace sim
