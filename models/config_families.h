// The families of models that config_json.h imports: one reader per family, one visible table.
//
// To add a family: a function that reads its fields into blocks, and one line in the table.
#pragma once

#include <span>
#include <string_view>

#include "models/config_fields.h"
#include "models/moe_model.h"

namespace sim {

struct ConfigFamily {
  std::string_view model_type;    // `model_type` of the text model
  std::string_view architecture;  // `architectures[0]`, for configs without a model_type; may be ""
  void (*read)(const ConfigFields& config, MoeModel& model);
};

std::span<const ConfigFamily> config_families();

// Shared by the families' readers.

// hidden_size, vocab_size, tie_word_embeddings, max_position_embeddings.
void read_sizes(const ConfigFields& config, MoeModel& model, bool tied_by_default = false);
// Layers, within bounds: safe to allocate.
std::int64_t read_layer_count(const ConfigFields& config, std::string_view key);
// num_attention_heads, num_key_value_heads (default: as many), head_dim (default: hidden / heads).
AttentionBlock read_grouped(const ConfigFields& config);
AttentionBlock read_latent(const ConfigFields& config);
// Adds `layers` decoder layers of one attention and one FFN block each.
void add_layers(MoeModel& model, std::int64_t layers, const AttentionBlock& attention,
                const FfnBlock& ffn);
Block attention_block(const AttentionBlock& attention, std::int64_t norms = 1);
Block ffn_block(const FfnBlock& ffn, std::int64_t norms = 1);

// Families in files of their own.
void read_deepseek(const ConfigFields& config, MoeModel& model);
void read_deepseek_mla(const ConfigFields& config, MoeModel& model);
void read_deepseek_native(const ConfigFields& config, MoeModel& model);
void read_qwen_moe(const ConfigFields& config, MoeModel& model);
void read_qwen_next(const ConfigFields& config, MoeModel& model);
void read_llama4(const ConfigFields& config, MoeModel& model);
void read_gemma4(const ConfigFields& config, MoeModel& model);
void read_mimo(const ConfigFields& config, MoeModel& model);
void read_jamba(const ConfigFields& config, MoeModel& model);
void read_jetmoe(const ConfigFields& config, MoeModel& model);
void read_openmoe(const ConfigFields& config, MoeModel& model);
void read_switch(const ConfigFields& config, MoeModel& model);

}  // namespace sim
