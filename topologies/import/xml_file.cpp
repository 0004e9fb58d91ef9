#include "topologies/import/xml_file.h"

#include <libxml/parser.h>
#include <libxml/tree.h>

#include <limits>

#include "sim/core/error.h"

namespace sim {
namespace {

constexpr int kDeepest = 64;
constexpr std::size_t kMostElements = 100'000;

struct FreeContext {
  void operator()(xmlParserCtxtPtr context) const { xmlFreeParserCtxt(context); }
};
struct FreeDocument {
  void operator()(xmlDocPtr document) const { xmlFreeDoc(document); }
};

std::string text_of(const xmlChar* text) {
  return text == nullptr ? "" : reinterpret_cast<const char*>(text);
}

class Copier {
 public:
  explicit Copier(const std::string& file) : file_(file) {}

  XmlElement copy(const xmlNode* node, int depth) {
    const int line = static_cast<int>(xmlGetLineNo(node));
    if (depth > kDeepest)
      throw Error(Place{file_, line, 0},
                  "elements are nested more than " + std::to_string(kDeepest) + " deep");
    if (++elements_ > kMostElements)
      throw Error(Place{file_, line, 0},
                  "this file has more than " + std::to_string(kMostElements) + " elements");
    XmlElement element;
    element.name = text_of(node->name);
    element.line = line;
    for (const xmlAttr* each = node->properties; each != nullptr; each = each->next) {
      const xmlNode* value = each->children;
      element.attributes.emplace_back(text_of(each->name),
                                      value == nullptr ? "" : text_of(value->content));
    }
    for (const xmlNode* child = node->children; child != nullptr; child = child->next) {
      if (child->type == XML_ELEMENT_NODE) element.children.push_back(copy(child, depth + 1));
    }
    return element;
  }

 private:
  const std::string& file_;
  std::size_t elements_ = 0;
};

}  // namespace

std::optional<std::string> XmlElement::attribute(std::string_view key) const {
  for (const auto& [known, value] : attributes) {
    if (known == key) return value;
  }
  return std::nullopt;
}

XmlElement parse_xml(const std::string& file, const std::string& content) {
  SIM_CHECK(content.size() < static_cast<std::size_t>(std::numeric_limits<int>::max()),
            "the size of the file was checked");
  const std::unique_ptr<xmlParserCtxt, FreeContext> context(xmlNewParserCtxt());
  const std::unique_ptr<xmlDoc, FreeDocument> document(xmlCtxtReadMemory(
      context.get(), content.data(), static_cast<int>(content.size()), file.c_str(), nullptr,
      XML_PARSE_NONET | XML_PARSE_NOERROR | XML_PARSE_NOWARNING));
  if (document == nullptr) {
    const xmlErrorPtr error = xmlCtxtGetLastError(context.get());
    std::string why = error == nullptr || error->message == nullptr ? "" : error->message;
    while (!why.empty() && (why.back() == '\n' || why.back() == ' ')) why.pop_back();
    throw Error(Place{file, error == nullptr ? 0 : error->line, 0},
                "this is not XML, or it is cut short: " + why);
  }
  if (document->intSubset != nullptr)
    throw Error(Place{file, 1, 0}, "XML with a document type is not read", "take out <!DOCTYPE>");
  return Copier(file).copy(xmlDocGetRootElement(document.get()), 1);
}

}  // namespace sim
