#include "models/model_reader.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "models/config_json.h"
#include "models/model_fields.h"
#include "sim/core/error.h"
#include "sim/input/suggestion.h"
#include "sim/input/yaml_reader.h"

namespace sim {

namespace {

constexpr CountRange kAnyCount{0, std::int64_t{1} << 40};
constexpr std::size_t kMostLayers = 4096;

const std::vector<std::string>& dtype_names() {
  static const std::vector<std::string> names = {"bf16",  "fp16", "fp8",  "int8", "mxfp4",
                                                 "nvfp4", "int4", "fp32", "tf32"};
  return names;
}

DType read_dtype(YamlMap& map, const char* key) {
  return parse_dtype(map.choice(key, dtype_names())).value_or(DType::kBf16);
}

// Fills what the visited value has; a field's default is the value it comes with.
class Reader {
 public:
  explicit Reader(YamlMap& map) : map_(map) {}

  void count(const char* key, std::int64_t& value) { value = map_.count_or(key, value, kAnyCount); }
  void flag(const char* key, bool& value) { value = map_.flag_or(key, value); }
  void optional_count(const char* key, std::optional<std::int64_t>& value) {
    if (map_.has(key)) value = map_.count(key, kAnyCount);
  }
  template <class Value, std::size_t size>
  void word(const char* key, Value& value,
            const std::array<std::pair<Value, std::string_view>, size>& table) {
    if (!map_.has(key)) return;
    std::vector<std::string> names;
    names.reserve(size);
    for (const auto& entry : table) names.emplace_back(entry.second);
    const std::string word = map_.choice(key, names);
    for (const auto& [meaning, name] : table) {
      if (name == word) value = meaning;
    }
  }
  void group(const char* key, GroupFormat& format) {
    std::optional<YamlMap> map = map_.map_if(key);
    if (!map) return;
    format.stored = usual_format(read_dtype(*map, "stored"));
    format.multiplied = read_dtype(*map, "multiplied");
    if (map->has("scale_block")) {
      const std::vector<std::int64_t> block = map->counts_or_empty("scale_block", {1, 1 << 20});
      if (block.size() == 2) {
        format.stored.block_rows = block[0];
        format.stored.block_columns = block[1];
      } else {
        map->mistake("scale_block", "'scale_block' needs two numbers: rows and columns");
      }
    }
    format.stored.scale_bytes = map->count_or("scale_bytes", format.stored.scale_bytes, {0, 16});
    map->finish();
  }

 private:
  YamlMap& map_;
};

std::optional<Routing> read_routing(YamlMap& map) {
  std::optional<YamlMap> routing_map = map.map_if("routing");
  if (!routing_map) return std::nullopt;
  Routing routing;
  Reader reader(*routing_map);
  visit_routing(reader, routing);
  routing_map->finish();
  return routing;
}

Block read_block(const YamlNode& node, const std::string& name, Mistakes& mistakes) {
  YamlMap map(node, fmt::format("block '{}'", name), mistakes);
  std::vector<std::string> kinds = {"ffn"};
  for (const auto& entry : kAttentionKinds) kinds.emplace_back(entry.second);
  const std::size_t before = mistakes.list().size();
  const std::string kind = map.choice("kind", kinds);
  if (mistakes.list().size() > before) return {};  // the other keys depend on it
  Block block;
  block.norms = map.count_or("norms", 1, {0, 16});
  Reader reader(map);
  if (kind == "ffn") {
    FfnBlock ffn;
    visit_ffn(reader, ffn);
    ffn.routing = read_routing(map);
    block.body = ffn;
  } else {
    AttentionBlock attention;
    for (const auto& [meaning, word] : kAttentionKinds) {
      if (word == kind) attention.kind = meaning;
    }
    visit_attention(reader, attention);
    attention.routing = read_routing(map);
    if (std::optional<YamlMap> index = map.map_if("indexer")) {
      Reader index_reader(*index);
      attention.indexer = Indexer{};
      visit_indexer(index_reader, *attention.indexer);
      index->finish();
    }
    block.body = attention;
  }
  map.finish();
  return block;
}

using NamedBlocks = std::map<std::string, Block>;

NamedBlocks read_blocks(const YamlNode& node, Mistakes& mistakes) {
  NamedBlocks blocks;
  if (!node.is_map()) return blocks;
  for (const auto& [name, value] : node.entries()) {
    blocks.emplace(name, read_block(value, name, mistakes));
  }
  return blocks;
}

std::vector<Block> read_layer(const YamlNode& node, const NamedBlocks& blocks, Mistakes& mistakes) {
  std::vector<Block> result;
  if (!node.is_list()) {
    mistakes.add(node.place(), "a layer must be a list of block names",
                 "write it like [attention, routed]");
    return result;
  }
  for (const YamlNode& item : node.items()) {
    const std::string name = item.is_scalar() ? item.text() : "";
    const auto found = blocks.find(name);
    if (found != blocks.end()) {
      result.push_back(found->second);
      continue;
    }
    std::vector<std::string> names;
    for (const auto& entry : blocks) names.push_back(entry.first);
    mistakes.add(item.place(), fmt::format("there is no block '{}'", name), suggest(name, names));
  }
  return result;
}

void read_run(const YamlNode& node, const NamedBlocks& blocks, MoeModel& model,
              Mistakes& mistakes) {
  if (!node.is_map()) {
    mistakes.add(node.place(), "a run of layers must be a mapping",
                 "write it like {repeat: 2, pattern: [[attention, routed]]}");
    return;
  }
  YamlMap map(node, "a run of layers", mistakes);
  const std::int64_t repeat = map.count_or("repeat", 1, {1, kMostLayers});
  const std::string stack =
      map.choice_or("stack", "decoder", std::vector<std::string>{"decoder", "encoder"});
  std::vector<Layer> layers;
  for (const YamlNode& layer : map.list_or_empty("pattern")) {
    layers.push_back({stack == "encoder" ? Stack::kEncoder : Stack::kDecoder,
                      read_layer(layer, blocks, mistakes)});
  }
  if (layers.empty())
    map.mistake("pattern", "a run of layers needs a 'pattern' of at least one layer");
  map.finish();
  if (model.layers.size() + layers.size() * static_cast<std::size_t>(repeat) > kMostLayers) {
    mistakes.add(map.place(), fmt::format("a model has at most {} layers", kMostLayers));
    return;
  }
  for (std::int64_t i = 0; i < repeat; ++i) {
    model.layers.insert(model.layers.end(), layers.begin(), layers.end());
  }
}

MoeModel read(YamlDocument& document) {
  Mistakes mistakes;
  YamlMap root(document.root(), "model", mistakes);
  MoeModel model;
  model.name = root.text("name");
  model.source = root.text("source");
  model.notes = root.texts_or_empty("notes");
  model.hidden = root.count("hidden", kAnyCount);
  model.vocabulary = root.count("vocabulary", kAnyCount);
  model.max_context = root.count("max_context", kAnyCount);
  model.tied_embeddings = root.flag_or("tied_embeddings", false);
  model.head_bias = root.flag_or("head_bias", false);
  model.norm_bias = root.flag_or("norm_bias", false);
  if (std::optional<YamlMap> formats = root.map_if("formats")) {
    if (formats->has("activations"))
      model.formats.activations = read_dtype(*formats, "activations");
    if (formats->has("kv_cache")) model.formats.kv_cache = read_dtype(*formats, "kv_cache");
    Reader reader(*formats);
    visit_formats(reader, model.formats);
    formats->finish();
  }
  const NamedBlocks blocks = read_blocks(root.map("blocks").node(), mistakes);
  for (const YamlNode& run : root.list_or_empty("layers")) read_run(run, blocks, model, mistakes);
  root.finish();
  mistakes.throw_if_any();
  for (const std::string& wrong : model_mistakes(model))
    mistakes.add({document.name(), 0, 0}, wrong);
  mistakes.throw_if_any();
  return model;
}

}  // namespace

MoeModel read_model(const std::string& path) { return read(*YamlDocument::load(path)); }

MoeModel parse_model(const std::string& text, const std::string& file) {
  return read(*YamlDocument::parse(text, file));
}

MoeModel read_model_or_config(const std::string& path) {
  return std::filesystem::path(path).extension() == ".json" ? read_config_json(path)
                                                            : read_model(path);
}

}  // namespace sim
