// DeepSeek's models and those built like them (Kimi-K2, GLM-5), and DeepSeek's own inference
// config.
#include <fmt/format.h>

#include "models/config_families.h"

namespace sim {

namespace {

FfnBlock dense_of(std::int64_t inter) {
  FfnBlock ffn;
  ffn.dense_inter = inter;
  return ffn;
}

void set_scoring(const ConfigFields& config, const char* key, Routing& routing) {
  const std::string scoring = config.text_or(key, "softmax");
  if (scoring == "sigmoid") {
    routing.scoring = Scoring::kSigmoid;
  } else if (scoring != "softmax") {
    config.mistake(key, fmt::format("the scoring '{}' is not known", scoring),
                   "possible: softmax, sigmoid");
  }
}

FfnBlock routed(const ConfigFields& config) {
  FfnBlock ffn;
  ffn.routing = Routing{};
  Routing& routing = *ffn.routing;
  routing.experts = config.count({"n_routed_experts", "num_routed_experts"});
  routing.top_k = config.count("num_experts_per_tok");
  routing.groups = config.count_or("n_group", 1);
  routing.top_groups = config.count_or("topk_group", 1);
  const std::string method = config.text_or("topk_method", "greedy");
  if (method == "greedy") {  // without groups, whatever the fields say
    routing.groups = routing.top_groups = 1;
  } else if (method == "noaux_tc") {
    routing.correction_bias = true;
  } else if (method != "group_limited_greedy") {
    config.mistake("topk_method", fmt::format("the choice of experts '{}' is not known", method),
                   "possible: greedy, group_limited_greedy, noaux_tc");
  }
  set_scoring(config, "scoring_func", routing);
  ffn.expert_inter = config.count("moe_intermediate_size");
  ffn.shared_experts = config.has("num_shared_experts") ? config.count("num_shared_experts")
                                                        : config.count_or("n_shared_experts", 0);
  ffn.shared_inter = ffn.shared_experts > 0 ? ffn.expert_inter : 0;
  return ffn;
}

void add_routed_layers(const ConfigFields& config, MoeModel& model,
                       const AttentionBlock& attention) {
  const std::int64_t layers = read_layer_count(config, "num_hidden_layers");
  const std::int64_t first = config.count_or("first_k_dense_replace", 0);
  const std::int64_t every = config.count_or("moe_layer_freq", 1);
  if (every < 1) config.mistake("moe_layer_freq", "'moe_layer_freq' must be at least 1");
  const FfnBlock dense = dense_of(config.count("intermediate_size"));
  const FfnBlock sparse = routed(config);
  for (std::int64_t i = 0; i < layers; ++i) {
    const bool is_routed = i >= first && every > 0 && i % every == 0;
    add_layers(model, 1, attention, is_routed ? sparse : dense);
  }
}

}  // namespace

void read_deepseek(const ConfigFields& config, MoeModel& model) {
  read_sizes(config, model);
  AttentionBlock attention = read_grouped(config);
  attention.qkv_bias = attention.output_bias = config.flag_or("attention_bias", false);
  add_routed_layers(config, model, attention);
}

void read_deepseek_mla(const ConfigFields& config, MoeModel& model) {
  read_sizes(config, model);
  AttentionBlock attention = read_latent(config);
  if (config.has("index_topk")) {
    attention.indexer = Indexer{config.count("index_n_heads"), config.count("index_head_dim"),
                                config.count("index_topk")};
  }
  add_routed_layers(config, model, attention);
}

void read_deepseek_native(const ConfigFields& config, MoeModel& model) {
  model.hidden = config.count("dim");
  model.vocabulary = config.count("vocab_size");
  model.max_context = config.count_assumed("max_seq_len", 16384);
  const std::string dtype = config.text_or("dtype", "bf16");
  if (dtype == "fp8") {
    const GroupFormat fp8{usual_format(DType::kFp8), DType::kFp8};
    model.formats.attention = model.formats.dense = fp8;
    model.formats.experts = model.formats.shared = fp8;
  } else if (dtype != "bf16") {
    config.mistake("dtype", fmt::format("the number format '{}' is not known", dtype),
                   "possible: bf16, fp8");
  }
  AttentionBlock attention = read_latent(config);
  FfnBlock sparse;
  sparse.routing = Routing{};
  sparse.routing->experts = config.count("n_routed_experts");
  sparse.routing->top_k = config.count("n_activated_experts");
  sparse.routing->groups = config.count_or("n_expert_groups", 1);
  sparse.routing->top_groups = config.count_or("n_limited_groups", 1);
  set_scoring(config, "score_func", *sparse.routing);
  // DeepSeek's model.py gives the gate a bias when dim is 7168: the correction bias of V3.
  sparse.routing->correction_bias = model.hidden == 7168;
  sparse.expert_inter = config.count("moe_inter_dim");
  sparse.shared_experts = config.count_or("n_shared_experts", 0);
  sparse.shared_inter = sparse.shared_experts > 0 ? sparse.expert_inter : 0;
  const std::int64_t layers = read_layer_count(config, "n_layers");
  const std::int64_t dense_layers = config.count_or("n_dense_layers", 0);
  const FfnBlock dense = dense_of(config.count("inter_dim"));
  for (std::int64_t i = 0; i < layers; ++i) {
    add_layers(model, 1, attention, i < dense_layers ? dense : sparse);
  }
}

}  // namespace sim
