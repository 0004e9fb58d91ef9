#include "sim/app/scenario_difference.h"

#include <utility>

#include "sim/input/yaml_reader.h"

namespace sim {
namespace {

using Keys = std::vector<std::pair<std::string, std::string>>;

std::string flow_text(const YamlNode& node) {
  std::string text;
  if (node.is_scalar()) return node.text();
  if (node.is_list()) {
    for (const YamlNode& item : node.items()) text += (text.empty() ? "" : ", ") + flow_text(item);
    return "[" + text + "]";
  }
  if (node.is_map()) {
    for (const auto& [key, value] : node.entries())
      text += (text.empty() ? "" : ", ") + key + ": " + flow_text(value);
    return "{" + text + "}";
  }
  return "null";
}

void flatten(const YamlNode& node, const std::string& path, Keys& keys) {
  if (!node.is_map()) {
    keys.emplace_back(path, flow_text(node));
    return;
  }
  for (const auto& [key, value] : node.entries())
    flatten(value, path.empty() ? key : path + "." + key, keys);
}

Keys flatten(const std::string& text, const std::string& name) {
  Keys keys;
  const auto document = YamlDocument::parse(text, name);
  if (document->root().defined()) flatten(document->root(), "", keys);
  return keys;
}

const std::string* find(const Keys& keys, const std::string& key) {
  for (const auto& [name, value] : keys) {
    if (name == key) return &value;
  }
  return nullptr;
}

}  // namespace

std::vector<KeyDifference> scenario_difference(const std::string& a, const std::string& b) {
  const Keys first = flatten(a, "the first scenario");
  const Keys second = flatten(b, "the second scenario");
  std::vector<KeyDifference> differences;
  for (const auto& [key, value] : first) {
    const std::string* other = find(second, key);
    if (other == nullptr || *other != value)
      differences.push_back({key, value, other == nullptr ? "" : *other});
  }
  for (const auto& [key, value] : second) {
    if (find(first, key) == nullptr) differences.push_back({key, "", value});
  }
  return differences;
}

}  // namespace sim
