#include "models/config_json.h"

#include <fmt/format.h>

#include <filesystem>

#include "models/config_families.h"
#include "sim/core/error.h"
#include "sim/input/suggestion.h"

namespace sim {

namespace {

std::string name_of(const std::string& file) {
  const std::filesystem::path path(file);
  if (path.filename() == "config.json" && path.has_parent_path()) {
    return path.parent_path().filename().string();
  }
  return path.stem().string();
}

const ConfigFamily* find_family(const ConfigFields& config) {
  const std::string type = config.text_or("model_type", "");
  const std::vector<std::string> architectures = config.texts("architectures");
  for (const ConfigFamily& family : config_families()) {
    if (!type.empty() && type == family.model_type) return &family;
    if (type.empty() && !architectures.empty() && architectures[0] == family.architecture) {
      return &family;
    }
  }
  return nullptr;
}

void set_all(ModelFormats& formats, const GroupFormat& format) {
  formats.attention = formats.dense = formats.experts = formats.shared = format;
}

// Whether a list of modules that stay unquantised names one of `words`.
bool stays(const std::vector<std::string>& modules, std::initializer_list<std::string_view> words) {
  for (const std::string& module : modules) {
    for (const std::string_view word : words) {
      if (module.find(word) != std::string::npos) return true;
    }
  }
  return false;
}

void leave_plain(ModelFormats& formats, const std::vector<std::string>& modules,
                 const GroupFormat& plain) {
  if (stays(modules, {"self_attn"})) formats.attention = plain;
  if (stays(modules, {"shared_expert"})) formats.shared = plain;
  if (stays(modules, {"mlp\\.(gate|up", "mlp.gate_proj", "mlp.down_proj"})) formats.dense = plain;
}

void read_fp8(const ConfigFields& quantization, ModelFormats& formats, const GroupFormat& plain) {
  WeightFormat stored{DType::kFp8, 1, 1, 0};
  const std::vector<std::int64_t> block = quantization.counts("weight_block_size");
  if (block.size() == 2 && block[0] > 0 && block[1] > 0) {
    stored = {DType::kFp8, block[0], block[1], 4};
  } else if (quantization.has("weight_block_size")) {
    quantization.mistake("weight_block_size", "'weight_block_size' must be two positive numbers");
  }
  set_all(formats, {stored, DType::kFp8});
  leave_plain(formats, quantization.texts("modules_to_not_convert"), plain);
}

void read_compressed(const ConfigFields& quantization, ModelFormats& formats,
                     const GroupFormat& plain) {
  constexpr std::string_view kHint = "one group_0 with 4-bit int weights in groups can be imported";
  if (!quantization.has("config_groups") || !quantization.child("config_groups").has("group_0") ||
      !quantization.child("config_groups").child("group_0").has("weights")) {
    quantization.mistake("config_groups", "config_groups.group_0.weights is missing",
                         std::string(kHint));
    return;
  }
  const ConfigFields groups = quantization.child("config_groups");
  const ConfigFields weights = groups.child("group_0").child("weights");
  const std::int64_t group = weights.count_or("group_size", 0);
  if (groups.has("group_1") || weights.text_or("type", "") != "int" ||
      weights.count_or("num_bits", 0) != 4 || weights.text_or("strategy", "") != "group" ||
      group <= 0) {
    quantization.mistake("config_groups", "this compressed-tensors scheme is not known",
                         std::string(kHint));
    return;
  }
  set_all(formats, {{DType::kInt4, 1, group, 2}, plain.multiplied});
  leave_plain(formats, quantization.texts("ignore"), plain);
}

void read_formats(const ConfigFields& config, MoeModel& model) {
  const char* key = config.has("torch_dtype") ? "torch_dtype" : "dtype";
  const std::string given = config.text_or(key, "");
  DType plain_type = DType::kBf16;
  if (given == "float16") {
    plain_type = DType::kFp16;
  } else if (given == "float32") {
    config.note(fmt::format("{} is float32; taken as bf16, as engines load it", key));
  } else if (given.empty()) {
    config.note("torch_dtype is not given: bf16");
  } else if (given != "bfloat16") {
    config.mistake(key, fmt::format("the number format '{}' is not known", given),
                   "possible: bfloat16, float16, float32");
  }
  const GroupFormat plain{usual_format(plain_type), plain_type};
  ModelFormats& formats = model.formats;
  set_all(formats, plain);
  formats.router = formats.embeddings = plain;
  formats.activations = formats.kv_cache = plain_type;
  if (!config.has("quantization_config")) return;
  const ConfigFields quantization = config.child("quantization_config");
  const std::string method = quantization.text_or("quant_method", "");
  if (method == "fp8") {
    read_fp8(quantization, formats, plain);
  } else if (method == "mxfp4") {
    formats.experts = {usual_format(DType::kMxfp4), plain_type};
    config.note(
        "mxfp4 experts are multiplied in bf16, as weight-only kernels do; set formats.experts."
        "multiplied to mxfp4 for devices that multiply it");
  } else if (method == "compressed-tensors") {
    read_compressed(quantization, formats, plain);
  } else {
    quantization.mistake("quant_method", fmt::format("quantisation by '{}' is not known", method),
                         "possible: fp8, mxfp4, compressed-tensors");
  }
}

void note_left_out(const ConfigFields& root, const ConfigFields& config) {
  for (const char* tower : {"vision_config", "audio_config"}) {
    if (root.has(tower)) root.note(fmt::format("{} is left out: text only", tower));
  }
  for (const char* key : {"num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules"}) {
    if (config.count_or(key, 0) > 0) {
      config.note(fmt::format("{}: multi-token-prediction layers are left out", key));
    }
  }
}

MoeModel read(ConfigFile& file, const std::string& name) {
  MoeModel model;
  model.name = name.empty() ? name_of(file.name()) : name;
  const ConfigFields root = file.root();
  const ConfigFields config = root.has("text_config") ? root.child("text_config") : root;
  if (root.has("dim") && root.has("n_layers") && !root.has("model_type")) {
    model.source =
        "DeepSeek inference config " + std::filesystem::path(file.name()).filename().string();
    read_deepseek_native(root, model);
  } else {
    model.source = "config.json " + std::filesystem::path(file.name()).filename().string();
    const ConfigFamily* family = find_family(config);
    if (family == nullptr) {
      const std::string type = config.text_or("model_type", "");
      const std::vector<std::string> known = known_model_types();
      config.mistake("model_type",
                     type.empty()
                         ? "neither model_type nor architectures names a model type we know"
                         : fmt::format("the model type '{}' cannot be imported", type),
                     suggest(type, known));
      file.mistakes().throw_if_any();
    }
    read_formats(config, model);
    family->read(config, model);
    note_left_out(root, config);
  }
  file.mistakes().throw_if_any();
  const std::vector<std::string> wrong = model_mistakes(model);
  for (const std::string& mistake : wrong)
    root.mistake("", mistake, "is a field of the config wrong?");
  file.mistakes().throw_if_any();
  model.notes = file.notes();
  return model;
}

}  // namespace

MoeModel read_config_json(const std::string& path, const std::string& name) {
  return read(*ConfigFile::load(path), name);
}

MoeModel parse_config_json(const std::string& text, const std::string& file,
                           const std::string& name) {
  return read(*ConfigFile::parse(text, file), name);
}

std::vector<std::string> known_model_types() {
  std::vector<std::string> result;
  for (const ConfigFamily& family : config_families()) result.emplace_back(family.model_type);
  return result;
}

}  // namespace sim
