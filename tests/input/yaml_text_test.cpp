#include "sim/input/yaml_text.h"

#include <gtest/gtest.h>

#include "sim/input/yaml_reader.h"

namespace sim {
namespace {

std::string read_back(const std::string& scalar) {
  Mistakes mistakes;
  const auto document = YamlDocument::parse("text: " + scalar + "\n", "t.yaml");
  YamlMap map(document->root(), "the file", mistakes);
  const std::string text = map.text("text");
  mistakes.throw_if_any();
  return text;
}

TEST(YamlText, AnyTextReadsBackAsItself) {
  for (const std::string text :
       {"plain", "Intel \"X\" CPU", "a: b", "[x", "# no comment", "back\\slash", "tab\tand\nline",
        "12", "true", "~", "é", "- x", "{a}", "it's", "trailing:", "\x01\x7f"}) {
    EXPECT_EQ(read_back(yaml_quoted(text)), text);
    EXPECT_EQ(read_back(yaml_scalar(text)), text);
  }
}

TEST(YamlText, ScalarsAreQuotedWhereTheyMust) {
  EXPECT_EQ(yaml_scalar("h100-sxm_2.x"), "h100-sxm_2.x");
  EXPECT_EQ(yaml_scalar("No"), "\"No\"");
  EXPECT_EQ(yaml_scalar("1e3"), "\"1e3\"");
  EXPECT_EQ(yaml_scalar("a: b"), "\"a: b\"");
  EXPECT_EQ(yaml_scalar(""), "\"\"");
}

}  // namespace
}  // namespace sim
