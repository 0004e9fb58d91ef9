#include "sim/app/validation/inline_scenario.h"

#include <algorithm>
#include <cctype>
#include <sstream>

namespace sim {
namespace {

// Writes a node again in YAML's flow style, in which blanks and line breaks may stand anywhere.
class FlowWriter {
 public:
  std::string write(const YamlNode& node) {
    value(node);
    return std::move(text_);
  }

 private:
  // Goes on to a place, when it lies ahead.
  void go_to(const Place& place, int left) {
    while (line_ < place.line) put("\n");
    if (line_ == place.line && column_ < place.column - left)
      put(std::string(static_cast<std::size_t>(place.column - left - column_), ' '));
  }
  void put(const std::string& text) {
    text_ += text;
    for (const char c : text) {
      column_ = c == '\n' ? 1 : column_ + 1;
      if (c == '\n') ++line_;
    }
  }
  static bool plain(const std::string& text) {
    return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
      return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
    });
  }
  static std::string quoted(const std::string& text) {
    std::string result = "'";
    for (const char c : text) result += c == '\'' ? "''" : std::string(1, c);
    return result + "'";
  }
  void value(const YamlNode& node) {
    if (node.is_map()) {
      put("{");
      for (const auto& [key, each] : node.entries()) {
        const std::string word = (plain(key) ? key : quoted(key)) + ": ";
        // A block begins on a line of its own, behind that of its key.
        const bool beside = !each.is_map() && !each.is_list();
        if (beside) go_to(each.place(), static_cast<int>(word.size()));
        put(word);
        value(each);
        put(",");
      }
      put("}");
    } else if (node.is_list()) {
      put("[");
      for (const YamlNode& each : node.items()) {
        if (each.is_scalar()) go_to(each.place(), 0);
        value(each);
        put(",");
      }
      put("]");
    } else if (node.is_scalar()) {
      put(plain(node.text()) ? node.text() : quoted(node.text()));
    } else {
      put("~");
    }
  }

  std::string text_;
  int line_ = 1;
  int column_ = 1;
};

}  // namespace

std::unique_ptr<YamlDocument> load_part(const std::string& file, const std::string& path) {
  const std::unique_ptr<YamlDocument> whole = YamlDocument::load(file);
  YamlNode node = whole->root();
  std::istringstream keys(path);
  for (std::string key; std::getline(keys, key, '.');) {
    YamlNode found;
    for (const auto& [name, value] : node.entries()) {
      if (name == key) found = value;
    }
    SIM_CHECK(found.defined(), "the part of a file exists: " + path);
    node = found;
  }
  SIM_CHECK(node.is_map(), "the part of a file is a mapping: " + path);
  return YamlDocument::parse(FlowWriter().write(node), file);
}

}  // namespace sim
