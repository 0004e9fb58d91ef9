// A model from a YAML file of ours (models/catalog/*.yaml), and back.
//
//     name: tiny
//     source: where the numbers are from
//     hidden: 64
//     vocabulary: 1000
//     max_context: 4096
//     tied_embeddings: false           # also head_bias, norm_bias; notes: [...]
//     formats:                         # what is left out is bf16
//       activations: bf16
//       kv_cache: bf16
//       experts: {stored: fp8, multiplied: fp8}      # also scale_block: [rows, columns],
//       scale_bytes
//     blocks:                          # named; the keys are the fields of moe_model.h
//       attention: {kind: grouped, heads: 4, kv_heads: 2, head_dim: 16, value_dim: 16}
//       dense: {kind: ffn, dense_inter: 256}
//       routed: {kind: ffn, expert_inter: 32, routing: {experts: 8, top_k: 2}}
//     layers:                          # in order; a pattern is a list of layers, each a list of
//     blocks
//       - {pattern: [[attention, dense]]}
//       - {repeat: 3, pattern: [[attention, routed]]}       # also stack: encoder
#pragma once

#include <string>

#include "models/moe_model.h"

namespace sim {

// Both throw Error with every mistake of the file.
MoeModel read_model(const std::string& path);
MoeModel parse_model(const std::string& text, const std::string& file);

// A .json file is imported as a config.json, anything else is read as our YAML.
MoeModel read_model_or_config(const std::string& path);

// The model as such a file: parse_model(to_yaml(m)) equals m, field by field.
std::string to_yaml(const MoeModel& model);

}  // namespace sim
