// Families with a shape of their own: Llama 4, Gemma 4, MiMo-V2, Jamba, JetMoE, OpenMoE, Switch.
#include <fmt/format.h>

#include <algorithm>

#include "models/config_families.h"

namespace sim {

namespace {

FfnBlock dense_of(std::int64_t inter) {
  FfnBlock ffn;
  ffn.dense_inter = inter;
  return ffn;
}

FfnBlock routed_of(std::int64_t experts, std::int64_t top_k, std::int64_t inter) {
  FfnBlock ffn;
  ffn.routing = Routing{};
  ffn.routing->experts = experts;
  ffn.routing->top_k = top_k;
  ffn.expert_inter = inter;
  return ffn;
}

// A period of a layer pattern: at least 1, so that it can divide.
std::int64_t period(const ConfigFields& config, std::string_view key, std::int64_t fallback) {
  const std::int64_t value = config.count_or(key, fallback);
  if (value < 1) config.mistake(key, fmt::format("'{}' must be at least 1", key));
  return std::max<std::int64_t>(1, value);
}

bool covers(const ConfigFields& config, std::string_view key, std::size_t size,
            std::int64_t layers) {
  if (static_cast<std::int64_t>(size) == layers) return true;
  config.mistake(key, fmt::format("'{}' must have an entry for each of {} layers", key, layers));
  return false;
}

}  // namespace

// One shared expert per routed layer; every fourth layer sees the whole context, the others the
// query's chunk.
void read_llama4(const ConfigFields& config, MoeModel& model) {
  read_sizes(config, model);
  AttentionBlock full = read_grouped(config);
  full.qkv_bias = full.output_bias = config.flag_or("attention_bias", false);
  AttentionBlock chunked = full;
  chunked.window = std::max<std::int64_t>(1, config.count_or("attention_chunk_size", 8192));
  chunked.chunked = true;
  const std::int64_t layers = read_layer_count(config, "num_hidden_layers");
  const std::int64_t step = period(config, "interleave_moe_layer_step", 1);
  const std::int64_t full_every = period(config, "no_rope_layer_interval", 4);
  FfnBlock sparse =
      routed_of(config.count("num_local_experts"), config.count("num_experts_per_tok"),
                config.count("intermediate_size"));
  sparse.routing->scoring = Scoring::kSigmoid;
  sparse.shared_experts = 1;
  sparse.shared_inter = sparse.expert_inter;
  const FfnBlock dense = dense_of(config.count("intermediate_size_mlp"));
  for (std::int64_t i = 0; i < layers; ++i) {
    add_layers(model, 1, (i + 1) % full_every == 0 ? full : chunked,
               (i + 1) % step == 0 ? sparse : dense);
  }
}

// A dense FFN beside the experts in every layer, norms before and after each part.
void read_gemma4(const ConfigFields& config, MoeModel& model) {
  read_sizes(config, model, true);
  if (!config.flag_or("enable_moe_block", false)) {
    config.mistake("enable_moe_block", "this Gemma 4 has no experts");
  }
  for (const char* key : {"hidden_size_per_layer_input", "num_kv_shared_layers"}) {
    if (config.count_or(key, 0) > 0) {
      config.mistake(key, fmt::format("'{}' above 0 cannot be expressed", key));
    }
  }
  AttentionBlock sliding = read_grouped(config);
  sliding.qk_norm = QkNorm::kPerHead;
  AttentionBlock full = sliding;
  sliding.window = std::max<std::int64_t>(1, config.count("sliding_window"));
  full.kv_heads = config.count_or("num_global_key_value_heads", full.kv_heads);
  full.head_dim = full.value_dim = config.count_or("global_head_dim", full.head_dim);
  full.values_are_keys = config.flag_or("attention_k_eq_v", false);
  FfnBlock ffn = routed_of(config.count("num_experts"), config.count("top_k_experts"),
                           config.count("moe_intermediate_size"));
  ffn.dense_inter = config.count("intermediate_size");
  ffn.routing->expert_scale = ffn.routing->input_scale = true;
  const std::int64_t layers = read_layer_count(config, "num_hidden_layers");
  const std::vector<std::string> types = config.texts("layer_types");
  if (!covers(config, "layer_types", types.size(), layers)) return;
  for (const std::string& type : types) {
    if (type != "full_attention" && type != "sliding_attention") {
      config.mistake("layer_types", fmt::format("the layer type '{}' is not known", type),
                     "possible: sliding_attention, full_attention");
      return;
    }
    model.layers.push_back(
        {Stack::kDecoder,
         {attention_block(type == "full_attention" ? full : sliding, 2), ffn_block(ffn, 5)}});
  }
}

void read_mimo(const ConfigFields& config, MoeModel& model) {
  read_sizes(config, model);
  AttentionBlock full = read_grouped(config);
  full.value_dim = config.count_or("v_head_dim", full.head_dim);
  full.qkv_bias = config.flag_or("attention_bias", false);
  full.sinks = config.flag_or("add_full_attention_sink_bias", false);
  AttentionBlock sliding = full;
  sliding.heads = config.count_or("swa_num_attention_heads", full.heads);
  sliding.kv_heads = config.count_or("swa_num_key_value_heads", full.kv_heads);
  sliding.head_dim = config.count_or("swa_head_dim", full.head_dim);
  sliding.value_dim = config.count_or("swa_v_head_dim", full.value_dim);
  sliding.sinks = config.flag_or("add_swa_attention_sink_bias", false);
  sliding.window = std::max<std::int64_t>(1, config.count("sliding_window"));
  FfnBlock sparse = routed_of(config.count("n_routed_experts"), config.count("num_experts_per_tok"),
                              config.count("moe_intermediate_size"));
  sparse.routing->groups = config.count_or("n_group", 1);
  sparse.routing->top_groups = config.count_or("topk_group", 1);
  sparse.routing->scoring = Scoring::kSigmoid;
  sparse.routing->correction_bias = config.text_or("topk_method", "") == "noaux_tc";
  sparse.shared_experts = config.count_or("n_shared_experts", 0);
  sparse.shared_inter = sparse.shared_experts > 0 ? sparse.expert_inter : 0;
  const FfnBlock dense = dense_of(config.count("intermediate_size"));
  const std::int64_t layers = read_layer_count(config, "num_hidden_layers");
  const std::vector<std::int64_t> pattern = config.counts("hybrid_layer_pattern");
  const std::vector<std::int64_t> routed = config.counts("moe_layer_freq");
  if (!covers(config, "hybrid_layer_pattern", pattern.size(), layers)) return;
  if (!covers(config, "moe_layer_freq", routed.size(), layers)) return;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    add_layers(model, 1, pattern[i] != 0 ? sliding : full, routed[i] != 0 ? sparse : dense);
  }
}

void read_jamba(const ConfigFields& config, MoeModel& model) {
  read_sizes(config, model);
  const AttentionBlock attention = read_grouped(config);
  AttentionBlock mamba;
  mamba.kind = AttentionKind::kMamba;
  mamba.inner = std::min<std::int64_t>(config.count_or("mamba_expand", 2), 1 << 20) * model.hidden;
  mamba.state = config.count_or("mamba_d_state", 16);
  mamba.conv_kernel = config.count_or("mamba_d_conv", 4);
  mamba.step_rank = config.count("mamba_dt_rank");
  if (!config.flag_or("mamba_conv_bias", true) || config.flag_or("mamba_proj_bias", false)) {
    config.mistake("mamba_proj_bias", "only Jamba's biases can be expressed",
                   "mamba_conv_bias true, mamba_proj_bias false");
  }
  const std::int64_t inter = config.count("intermediate_size");
  const FfnBlock dense = dense_of(inter);
  const FfnBlock sparse =
      routed_of(config.count("num_experts"), config.count("num_experts_per_tok"), inter);
  const std::int64_t layers = read_layer_count(config, "num_hidden_layers");
  const std::int64_t attention_period = period(config, "attn_layer_period", 8);
  const std::int64_t attention_offset = config.count_or("attn_layer_offset", 4);
  const std::int64_t expert_period = period(config, "expert_layer_period", 2);
  const std::int64_t expert_offset = config.count_or("expert_layer_offset", 1);
  for (std::int64_t i = 0; i < layers; ++i) {
    add_layers(model, 1, i % attention_period == attention_offset ? attention : mamba,
               i % expert_period == expert_offset ? sparse : dense);
  }
}

// Mixture of attention: each chosen expert has its own query and output projections for
// num_key_value_heads heads; keys and values are shared (transformers, modeling_jetmoe.py).
void read_jetmoe(const ConfigFields& config, MoeModel& model) {
  model.hidden = config.count("hidden_size");
  model.vocabulary = config.count("vocab_size");
  model.tied_embeddings = config.flag_assumed("tie_word_embeddings", true);
  model.max_context = config.count({"max_position_embeddings", "n_positions"});
  AttentionBlock attention;
  const std::int64_t experts = config.count({"num_local_experts", "moe_num_experts"});
  const std::int64_t top_k = config.count({"num_experts_per_tok", "moe_top_k"});
  attention.kv_heads = config.count("num_key_value_heads");
  attention.heads =
      attention.kv_heads * std::max<std::int64_t>(1, std::min<std::int64_t>(top_k, 1 << 16));
  attention.head_dim = attention.value_dim = config.count("kv_channels");
  attention.output_bias = true;
  attention.routing = Routing{};
  attention.routing->experts = experts;
  attention.routing->top_k = top_k;
  FfnBlock ffn = routed_of(experts, top_k, config.count({"intermediate_size", "ffn_hidden_size"}));
  ffn.up_matrices = config.flag_or("glu", true) ? 2 : 1;
  config.note("the routed FFN's output bias (hidden values per layer) is left out");
  add_layers(model, read_layer_count(config, "num_hidden_layers"), attention, ffn);
}

// The gate of OpenMoE's SwiGLU is twice as wide, and a routed layer also runs a dense FFN with a
// norm of its own (ColossalAI, modeling_openmoe.py).
void read_openmoe(const ConfigFields& config, MoeModel& model) {
  read_sizes(config, model);
  AttentionBlock attention = read_grouped(config);
  attention.qkv_bias = attention.output_bias = config.flag_or("attention_bias", false);
  const std::int64_t inter = config.count("intermediate_size");
  const std::int64_t up = !config.flag_or("mlp_gated", true)             ? 1
                          : config.text_or("hidden_act", "") == "swiglu" ? 3
                                                                         : 2;
  FfnBlock dense = dense_of(inter);
  dense.up_matrices = up;
  FfnBlock sparse = routed_of(config.count("num_experts"), config.count("router_topk"), inter);
  sparse.up_matrices = up;
  const std::int64_t layers = read_layer_count(config, "num_hidden_layers");
  const std::int64_t interval = period(config, "moe_layer_interval", 6);
  for (std::int64_t i = 0; i < layers; ++i) {
    Layer layer{Stack::kDecoder, {attention_block(attention)}};
    if ((i + 1) % interval == 0) layer.blocks.push_back(ffn_block(sparse));
    layer.blocks.push_back(ffn_block(dense));
    model.layers.push_back(std::move(layer));
  }
}

// Switch Transformers: a T5 encoder and decoder; the first layer of each holds the relative
// position bias.
void read_switch(const ConfigFields& config, MoeModel& model) {
  model.hidden = config.count("d_model");
  model.vocabulary = config.count("vocab_size");
  model.tied_embeddings = config.flag_assumed("tie_word_embeddings", true);
  model.max_context = config.count_assumed("n_positions", 512);
  AttentionBlock self;
  self.heads = self.kv_heads = config.count("num_heads");
  self.head_dim = self.value_dim = config.count("d_kv");
  AttentionBlock cross = self;
  cross.cross = true;
  FfnBlock dense = dense_of(config.count("d_ff"));
  dense.up_matrices = config.flag_or("is_gated_act", false) ? 2 : 1;
  FfnBlock sparse = routed_of(config.count("num_experts"),
                              config.count_or("num_selected_experts", 1), dense.dense_inter);
  sparse.up_matrices = dense.up_matrices;
  sparse.routing->bias = config.flag_or("router_bias", false);
  const auto add = [&](Stack stack, std::int64_t layers, std::int64_t sparse_step) {
    for (std::int64_t i = 0; i < layers; ++i) {
      AttentionBlock here = self;
      if (i == 0) here.position_buckets = config.count_or("relative_attention_num_buckets", 32);
      Layer layer{stack, {attention_block(here)}};
      if (stack == Stack::kDecoder) layer.blocks.push_back(attention_block(cross));
      const bool routed = sparse_step == 1 || i % sparse_step == 1;
      layer.blocks.push_back(ffn_block(routed ? sparse : dense));
      model.layers.push_back(std::move(layer));
    }
  };
  add(Stack::kEncoder, read_layer_count(config, "num_layers"),
      period(config, "encoder_sparse_step", 2));
  add(Stack::kDecoder, read_layer_count(config, "num_decoder_layers"),
      period(config, "decoder_sparse_step", 2));
}

}  // namespace sim
