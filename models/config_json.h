// Import of a model from a Hugging Face config.json, or from the config of DeepSeek's own inference
// code.
//
// A field that a config leaves out takes the default that transformers has for its model type, and
// a note of the model says so. Vision and audio towers and multi-token-prediction layers are left
// out, with a note. What our model cannot express is an Error, as is a model type that we do not
// know.
#pragma once

#include <string>
#include <vector>

#include "models/moe_model.h"

namespace sim {

// `name`: of the model; empty: taken from the file's name, or its folder's for "config.json".
// Throws Error with every mistake of the file.
MoeModel read_config_json(const std::string& path, const std::string& name = {});
MoeModel parse_config_json(const std::string& text, const std::string& file,
                           const std::string& name);

// Model types that can be imported, as config.json names them.
std::vector<std::string> known_model_types();

}  // namespace sim
