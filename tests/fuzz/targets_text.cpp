// Quantities and YAML.
#include "sim/input/quantity.h"
#include "sim/input/yaml_reader.h"
#include "tests/fuzz/targets.h"

namespace sim::fuzz {
namespace {

void quantity(std::string_view bytes) {
  std::string mistake;
  parse_duration(bytes, mistake);
  parse_bytes(bytes, mistake);
  parse_bandwidth(bytes, mistake);
  parse_flop_rate(bytes, mistake);
  parse_frequency(bytes, mistake);
  parse_number(bytes);
  parse_count(bytes);
}

void walk(const YamlNode& node) {
  node.place();
  if (node.is_map()) {
    for (const auto& [key, value] : node.entries()) walk(value);
  } else if (node.is_list()) {
    for (const YamlNode& item : node.items()) walk(item);
  } else if (node.is_scalar()) {
    node.text();
  }
}

// The document, what it says again, and every typed getter on keys that seeds have.
void yaml(std::string_view bytes) {
  const auto document = YamlDocument::parse(std::string(bytes), "input.yaml");
  walk(document->root());
  YamlDocument::parse(document->to_text(), "again.yaml");
  Mistakes mistakes;
  YamlMap map(document->root(), "the document", mistakes);
  map.duration_or("duration", Duration{});
  map.bytes_or("bytes", Bytes{});
  map.bandwidth_or("bandwidth", Bandwidth{});
  map.flop_rate_or("flops", FlopRate{});
  map.count_or("count", 1);
  map.number_or("number", 1);
  map.flag_or("flag", false);
  map.counts_or_empty("counts");
  map.texts_or_empty("texts");
  map.finish();
  mistakes.throw_if_any();
}

}  // namespace

std::vector<Target> text_targets() { return {{"quantity", quantity}, {"yaml", yaml}}; }

}  // namespace sim::fuzz
