// A small XML file as a tree of elements with their lines; libxml2 stays in the .cpp.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sim {

struct XmlElement {
  std::string name;
  int line = 0;
  std::vector<std::pair<std::string, std::string>> attributes;
  std::vector<XmlElement> children;

  std::optional<std::string> attribute(std::string_view key) const;
};

// Throws Error with file and line: not XML, cut short, with a document type (entities can grow
// without bound), nested deeper than 64, more than 100,000 elements. Reads nothing but `content`.
XmlElement parse_xml(const std::string& file, const std::string& content);

}  // namespace sim
