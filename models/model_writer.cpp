#include <fmt/format.h>

#include <algorithm>

#include "models/model_fields.h"
#include "models/model_reader.h"

namespace sim {

namespace {

std::string quoted(const std::string& text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      result += fmt::format("\\{}", c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      result += fmt::format("\\x{:02x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      result += c;
    }
  }
  return result + "\"";
}

// Collects "key: value" of the fields that differ from their default. REQUIRES: `value` and
// `fallback` are visited in the same order.
class Writer {
 public:
  void count(const char* key, std::int64_t value) { add(key, fmt::to_string(value)); }
  void flag(const char* key, bool value) { add(key, value ? "true" : "false"); }
  void optional_count(const char* key, const std::optional<std::int64_t>& value) {
    add(key, value ? fmt::to_string(*value) : "");
  }
  template <class Value, std::size_t size>
  void word(const char* key, Value value,
            const std::array<std::pair<Value, std::string_view>, size>& table) {
    for (const auto& [meaning, name] : table) {
      if (meaning == value) add(key, std::string(name));
    }
  }
  void group(const char* key, const GroupFormat& g) {
    std::string text =
        fmt::format("{{stored: {}, multiplied: {}", to_text(g.stored.dtype), to_text(g.multiplied));
    if (g.stored != usual_format(g.stored.dtype)) {
      text += fmt::format(", scale_block: [{}, {}], scale_bytes: {}", g.stored.block_rows,
                          g.stored.block_columns, g.stored.scale_bytes);
    }
    add(key, text + "}");
  }
  void add(const char* key, std::string value) { fields_.emplace_back(key, std::move(value)); }

  // The fields that are not as in `defaults`, joined.
  std::string unlike(const Writer& defaults, const char* separator) const {
    std::string result;
    for (std::size_t i = 0; i < fields_.size(); ++i) {
      if (i < defaults.fields_.size() && fields_[i] == defaults.fields_[i]) continue;
      result += fmt::format("{}{}: {}", result.empty() ? "" : separator, fields_[i].first,
                            fields_[i].second);
    }
    return result;
  }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

template <class Visit, class Value>
std::string fields_of(Visit visit, const Value& value, const char* separator = ", ") {
  Writer written;
  visit(written, value);
  Writer defaults;
  const Value fallback{};
  visit(defaults, fallback);
  return written.unlike(defaults, separator);
}

std::string block_text(const Block& block) {
  std::string text = "{kind: ";
  std::optional<Routing> routing;
  std::string fields;
  if (block.kind() == BlockKind::kFfn) {
    text += "ffn";
    fields = fields_of([](auto& v, const auto& f) { visit_ffn(v, f); }, block.ffn());
    routing = block.ffn().routing;
  } else {
    const AttentionBlock& a = block.attention();
    for (const auto& [kind, name] : kAttentionKinds) {
      if (kind == a.kind) text += name;
    }
    fields = fields_of([](auto& v, const auto& f) { visit_attention(v, f); }, a);
    routing = a.routing;
  }
  if (block.norms != 1) text += fmt::format(", norms: {}", block.norms);
  if (!fields.empty()) text += ", " + fields;
  if (routing) {
    text += ",\n      routing: {" +
            fields_of([](auto& v, const auto& f) { visit_routing(v, f); }, *routing) + "}";
  }
  if (block.kind() == BlockKind::kAttention && block.attention().indexer) {
    text +=
        ",\n      indexer: {" +
        fields_of([](auto& v, const auto& f) { visit_indexer(v, f); }, *block.attention().indexer) +
        "}";
  }
  return text + "}";
}

std::string block_name(const Block& block, const std::vector<std::string>& taken) {
  std::string base = "dense";
  if (block.kind() == BlockKind::kAttention) {
    const AttentionBlock& a = block.attention();
    base = a.kind == AttentionKind::kMamba        ? "mamba"
           : a.kind == AttentionKind::kGatedDelta ? "linear_attention"
           : a.cross                              ? "cross_attention"
           : a.chunked                            ? "chunked_attention"
           : a.window                             ? "sliding_attention"
                                                  : "attention";
  } else if (block.ffn().routing) {
    base = "routed";
  }
  std::string name = base;
  for (int i = 2; std::find(taken.begin(), taken.end(), name) != taken.end(); ++i) {
    name = fmt::format("{}_{}", base, i);
  }
  return name;
}

// How often the `period` layers from `at` follow one another.
std::size_t repeats(const std::vector<Layer>& layers, std::size_t at, std::size_t period) {
  std::size_t count = 1;
  while (at + (count + 1) * period <= layers.size() &&
         std::equal(layers.begin() + static_cast<std::ptrdiff_t>(at),
                    layers.begin() + static_cast<std::ptrdiff_t>(at + period),
                    layers.begin() + static_cast<std::ptrdiff_t>(at + count * period))) {
    ++count;
  }
  return count;
}

// The shortest pattern that covers most layers from `at`.
std::pair<std::size_t, std::size_t> best_run(const std::vector<Layer>& layers, std::size_t at) {
  constexpr std::size_t kLongestPattern = 12;
  std::size_t best_period = 1;
  std::size_t best_repeats = repeats(layers, at, 1);
  for (std::size_t period = 2; period <= kLongestPattern && at + 2 * period <= layers.size();
       ++period) {
    bool one_stack = true;
    for (std::size_t i = 0; i < period; ++i) {
      one_stack = one_stack && layers[at + i].stack == layers[at].stack;
    }
    const std::size_t count = repeats(layers, at, period);
    if (one_stack && count > 1 && count * period > best_repeats * best_period) {
      best_period = period;
      best_repeats = count;
    }
  }
  return {best_period, best_repeats};
}

std::string layer_text(const Layer& layer, const std::vector<Block>& blocks,
                       const std::vector<std::string>& names) {
  std::string text = "[";
  for (std::size_t b = 0; b < layer.blocks.size(); ++b) {
    const auto found = std::find(blocks.begin(), blocks.end(), layer.blocks[b]);
    text += fmt::format("{}{}", b == 0 ? "" : ", ",
                        names[static_cast<std::size_t>(found - blocks.begin())]);
  }
  return text + "]";
}

std::string layers_text(const std::vector<Layer>& layers, const std::vector<Block>& blocks,
                        const std::vector<std::string>& names) {
  std::string text;
  for (std::size_t at = 0; at < layers.size();) {
    const auto [period, count] = best_run(layers, at);
    text += "  - {";
    if (count > 1) text += fmt::format("repeat: {}, ", count);
    if (layers[at].stack == Stack::kEncoder) text += "stack: encoder, ";
    text += "pattern: [";
    for (std::size_t i = 0; i < period; ++i) {
      text += (i == 0 ? "" : ", ") + layer_text(layers[at + i], blocks, names);
    }
    text += "]}\n";
    at += period * count;
  }
  return text;
}

std::string formats_text(const ModelFormats& formats) {
  const std::string groups =
      fields_of([](auto& v, const auto& f) { visit_formats(v, f); }, formats, "\n  ");
  return fmt::format("formats:\n  activations: {}\n  kv_cache: {}\n{}",
                     to_text(formats.activations), to_text(formats.kv_cache),
                     groups.empty() ? "" : "  " + groups + "\n");
}

}  // namespace

std::string to_yaml(const MoeModel& model) {
  std::vector<Block> blocks;
  std::vector<std::string> names;
  for (const Layer& layer : model.layers) {
    for (const Block& block : layer.blocks) {
      if (std::find(blocks.begin(), blocks.end(), block) != blocks.end()) continue;
      names.push_back(block_name(block, names));
      blocks.push_back(block);
    }
  }
  std::string text =
      fmt::format("name: {}\nsource: {}\n", quoted(model.name), quoted(model.source));
  if (!model.notes.empty()) text += "notes:\n";
  for (const std::string& note : model.notes) text += fmt::format("  - {}\n", quoted(note));
  text += fmt::format("hidden: {}\nvocabulary: {}\nmax_context: {}\ntied_embeddings: {}\n",
                      model.hidden, model.vocabulary, model.max_context, model.tied_embeddings);
  if (model.head_bias) text += "head_bias: true\n";
  if (model.norm_bias) text += "norm_bias: true\n";
  text += formats_text(model.formats) + "blocks:\n";
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    text += fmt::format("  {}:\n    {}\n", names[i], block_text(blocks[i]));
  }
  return text + "layers:\n" + layers_text(model.layers, blocks, names);
}

}  // namespace sim
