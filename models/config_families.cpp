#include "models/config_families.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace sim {

namespace {

constexpr std::int64_t kMostLayers = 4096;

// mixtral, olmoe, granitemoe, phimoe, grinmoe, minimax_m2, minicpm: every layer is routed and
// intermediate_size is an expert's.
FfnBlock every_layer_routed(const ConfigFields& config) {
  FfnBlock ffn;
  ffn.routing = Routing{};
  ffn.routing->experts = config.count({"num_local_experts", "num_experts"});
  ffn.routing->top_k = config.count({"num_experts_per_tok", "moe_top_k"});
  ffn.expert_inter = config.count("intermediate_size");
  return ffn;
}

void set_window(const ConfigFields& config, AttentionBlock& attention, std::int64_t max_context) {
  const std::int64_t window = config.count_or("sliding_window", 0);
  if (window > 0 && window < max_context) attention.window = window;
}

void read_mixtral(const ConfigFields& config, MoeModel& model) {
  read_sizes(config, model);
  AttentionBlock attention = read_grouped(config);
  set_window(config, attention, model.max_context);
  add_layers(model, read_layer_count(config, "num_hidden_layers"), attention,
             every_layer_routed(config));
}

void read_olmoe(const ConfigFields& config, MoeModel& model) {
  read_sizes(config, model);
  AttentionBlock attention = read_grouped(config);
  attention.qk_norm = QkNorm::kFullWidth;
  attention.qkv_bias = attention.output_bias = config.flag_or("attention_bias", false);
  add_layers(model, read_layer_count(config, "num_hidden_layers"), attention,
             every_layer_routed(config));
}

void read_granite(const ConfigFields& config, MoeModel& model) {
  read_sizes(config, model, true);
  AttentionBlock attention = read_grouped(config);
  attention.qkv_bias = attention.output_bias = config.flag_or("attention_bias", false);
  add_layers(model, read_layer_count(config, "num_hidden_layers"), attention,
             every_layer_routed(config));
}

// Phi-3.5-MoE and GRIN: LayerNorm with bias, biases on all attention projections and the head.
void read_phi(const ConfigFields& config, MoeModel& model) {
  read_sizes(config, model);
  model.norm_bias = true;
  model.head_bias = config.flag_or("lm_head_bias", false);
  AttentionBlock attention = read_grouped(config);
  attention.qkv_bias = attention.output_bias = config.flag_or("attention_bias", false);
  set_window(config, attention, model.max_context);
  add_layers(model, read_layer_count(config, "num_hidden_layers"), attention,
             every_layer_routed(config));
}

void read_minimax_m2(const ConfigFields& config, MoeModel& model) {
  read_sizes(config, model);
  AttentionBlock attention = read_grouped(config);
  if (config.flag_or("use_qk_norm", false)) {
    const std::string type = config.text_or("qk_norm_type", "per_layer");
    if (type != "per_layer" && type != "per_head") {
      config.mistake("qk_norm_type", fmt::format("the query-key norm '{}' is not known", type),
                     "possible: per_layer, per_head");
    }
    attention.qk_norm = type == "per_head" ? QkNorm::kPerHead : QkNorm::kFullWidth;
  }
  FfnBlock ffn = every_layer_routed(config);
  ffn.routing->correction_bias = config.flag_or("use_routing_bias", false);
  if (config.text_or("scoring_func", "softmax") == "sigmoid") {
    ffn.routing->scoring = Scoring::kSigmoid;
  }
  ffn.shared_inter = config.count_or("shared_intermediate_size", 0);
  ffn.shared_experts = ffn.shared_inter > 0 ? 1 : 0;
  add_layers(model, read_layer_count(config, "num_hidden_layers"), attention, ffn);
}

void read_minicpm(const ConfigFields& config, MoeModel& model) {
  read_sizes(config, model, true);
  add_layers(model, read_layer_count(config, "num_hidden_layers"), read_grouped(config),
             every_layer_routed(config));
}

void read_xverse(const ConfigFields& config, MoeModel& model) {
  read_sizes(config, model);
  FfnBlock ffn = every_layer_routed(config);
  ffn.shared_experts = config.count_or("num_shared_experts", 0);
  ffn.shared_inter = ffn.expert_inter;
  add_layers(model, read_layer_count(config, "num_hidden_layers"), read_grouped(config), ffn);
}

void read_gpt_oss(const ConfigFields& config, MoeModel& model) {
  read_sizes(config, model);
  AttentionBlock full = read_grouped(config);
  full.qkv_bias = full.output_bias = config.flag_or("attention_bias", true);
  full.sinks = true;
  AttentionBlock sliding = full;
  sliding.window = std::max<std::int64_t>(1, config.count("sliding_window"));
  FfnBlock ffn = every_layer_routed(config);
  ffn.routing->bias = true;
  ffn.bias = true;
  const std::int64_t layers = read_layer_count(config, "num_hidden_layers");
  const std::vector<std::string> types = config.texts("layer_types");
  if (static_cast<std::int64_t>(types.size()) != layers) {
    config.mistake("layer_types",
                   fmt::format("layer_types must name the kind of all {} layers", layers));
    return;
  }
  for (const std::string& type : types) {
    if (type != "sliding_attention" && type != "full_attention") {
      config.mistake("layer_types", fmt::format("the layer type '{}' is not known", type),
                     "possible: sliding_attention, full_attention");
      return;
    }
    add_layers(model, 1, type == "sliding_attention" ? sliding : full, ffn);
  }
}

constexpr std::array<ConfigFamily, 26> kFamilies = {{
    {"deepseek", "DeepseekForCausalLM", read_deepseek},
    {"deepseek_v2", "DeepseekV2ForCausalLM", read_deepseek_mla},
    {"deepseek_v3", "DeepseekV3ForCausalLM", read_deepseek_mla},
    {"deepseek_v32", "DeepseekV32ForCausalLM", read_deepseek_mla},
    {"gemma4_text", "", read_gemma4},
    {"glm_moe_dsa", "GlmMoeDsaForCausalLM", read_deepseek_mla},
    {"gpt_oss", "GptOssForCausalLM", read_gpt_oss},
    {"granitemoe", "GraniteMoeForCausalLM", read_granite},
    {"grinmoe", "GRIN-MoE", read_phi},
    {"jamba", "JambaForCausalLM", read_jamba},
    {"jetmoe", "JetMoEForCausalLM", read_jetmoe},
    {"kimi_k2", "", read_deepseek_mla},
    {"llama4_text", "", read_llama4},
    {"mimo_v2_flash", "MiMoV2FlashForCausalLM", read_mimo},
    {"minicpm", "MiniCPMForCausalLM", read_minicpm},
    {"minimax_m2", "MiniMaxM2ForCausalLM", read_minimax_m2},
    {"mixtral", "MixtralForCausalLM", read_mixtral},
    {"olmoe", "OlmoeForCausalLM", read_olmoe},
    {"openmoe", "HFOpenMoeForCausalLM", read_openmoe},
    {"phimoe", "PhiMoEForCausalLM", read_phi},
    {"qwen2_moe", "Qwen2MoeForCausalLM", read_qwen_moe},
    {"qwen3_5_moe_text", "", read_qwen_next},
    {"qwen3_moe", "Qwen3MoeForCausalLM", read_qwen_moe},
    {"qwen3_next", "Qwen3NextForCausalLM", read_qwen_next},
    {"switch_transformers", "SwitchTransformersForConditionalGeneration", read_switch},
    {"xverse", "XverseForCausalLM", read_xverse},
}};

}  // namespace

std::span<const ConfigFamily> config_families() { return kFamilies; }

void read_sizes(const ConfigFields& config, MoeModel& model, bool tied_by_default) {
  model.hidden = config.count("hidden_size");
  model.vocabulary = config.count("vocab_size");
  model.tied_embeddings = config.flag_assumed("tie_word_embeddings", tied_by_default);
  model.max_context = config.count("max_position_embeddings");
}

std::int64_t read_layer_count(const ConfigFields& config, std::string_view key) {
  const std::int64_t layers = config.count(key);
  if (layers >= 1 && layers <= kMostLayers) return layers;
  if (config.has(key)) {
    config.mistake(key, fmt::format("'{}' must lie between 1 and {}", key, kMostLayers));
  }
  return 1;
}

AttentionBlock read_grouped(const ConfigFields& config) {
  AttentionBlock a;
  const std::int64_t hidden = config.count("hidden_size");
  a.heads = config.count("num_attention_heads");
  a.kv_heads = config.count_or("num_key_value_heads", a.heads);
  a.head_dim = config.count_or("head_dim", a.heads > 0 ? hidden / a.heads : 0);
  a.value_dim = a.head_dim;
  return a;
}

AttentionBlock read_latent(const ConfigFields& config) {
  AttentionBlock a;
  a.kind = AttentionKind::kLatent;
  a.heads = a.kv_heads = config.count({"num_attention_heads", "n_heads"});
  a.q_rank = config.count_or("q_lora_rank", 0);
  a.kv_rank = config.count("kv_lora_rank");
  a.nope_dim = config.count("qk_nope_head_dim");
  a.rope_dim = config.count("qk_rope_head_dim");
  a.head_dim = a.nope_dim + a.rope_dim;
  a.value_dim = config.count("v_head_dim");
  a.qkv_bias = a.output_bias = config.flag_or("attention_bias", false);
  return a;
}

Block attention_block(const AttentionBlock& attention, std::int64_t norms) {
  return {attention, norms};
}

Block ffn_block(const FfnBlock& ffn, std::int64_t norms) { return {ffn, norms}; }

void add_layers(MoeModel& model, std::int64_t layers, const AttentionBlock& attention,
                const FfnBlock& ffn) {
  const Layer layer{Stack::kDecoder, {attention_block(attention), ffn_block(ffn)}};
  model.layers.insert(model.layers.end(), static_cast<std::size_t>(layers), layer);
}

}  // namespace sim
