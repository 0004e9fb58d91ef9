// The parameters of a generator: what the scenario says over what the catalog file says.
//
// A layer is one mapping; the first layer that has a key gives its value, and mistakes name the
// place in that layer's file. Sections (mappings inside) are merged the same way, lists are not.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "sim/input/yaml_reader.h"
#include "topologies/cluster_builder.h"

namespace sim {

class ClusterParameters {
 public:
  // REQUIRES: at least one layer, most specific first. `name` is the cluster's.
  ClusterParameters(std::vector<YamlMap> layers, std::string name);

  const std::string& name() const { return name_; }
  bool has(std::string_view key) { return find(key).has(key); }
  std::string text(std::string_view key) { return find(key).text(key); }
  std::string text_or(std::string_view key, std::string fallback);
  std::int64_t count(std::string_view key, CountRange range) { return find(key).count(key, range); }
  std::int64_t count_or(std::string_view key, std::int64_t fallback, CountRange range);
  double number_or(std::string_view key, double fallback, NumberRange range);
  std::string choice_or(std::string_view key, std::string fallback,
                        std::span<const std::string> choices);
  std::vector<YamlNode> list_or_empty(std::string_view key) { return find(key).list_or_empty(key); }
  std::vector<std::string> texts_or_empty(std::string_view key) {
    return find(key).texts_or_empty(key);
  }

  // {bandwidth, label, source, latency, latency_label, latency_source}. Absent keys come from
  // `fallback`; without one, an absent section is a mistake and an absent latency is zero. A number
  // that replaces a catalog's takes the label and the source from beside itself, else it is
  // "assumed" and its source is the place where it stands.
  PortFigure port(std::string_view key, const std::optional<PortFigure>& fallback = std::nullopt);
  // {latency, label, source}, all optional: the bandwidth follows from other figures.
  PortFigure latency_only(std::string_view key);

  void mistake(std::string_view key, std::string message, std::string hint = {});
  Mistakes& mistakes() { return layers_.front().mistakes(); }
  bool clean() { return mistakes().list().size() == mistakes_before_; }  // none since construction
  void finish();

 private:
  // The first layer that has the key, else the first. Tells every layer that the key is known.
  YamlMap& find(std::string_view key);
  // The sections of that name, most specific first.
  std::vector<YamlMap> sections(std::string_view key);

  std::vector<YamlMap> layers_;
  std::string name_;
  std::size_t mistakes_before_;
};

// One of measured, fitted, published, roofline, assumed.
std::span<const std::string> figure_labels();

}  // namespace sim
