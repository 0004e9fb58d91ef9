#include "topologies/parameters.h"

#include <algorithm>
#include <utility>

#include "sim/core/error.h"

namespace sim {
namespace {

// The first of `layers` that has the key, else the first; asks all, so that all know the key.
YamlMap& first_with(std::vector<YamlMap>& layers, std::string_view key) {
  YamlMap* found = nullptr;
  for (YamlMap& layer : layers) {
    if (layer.has(key) && found == nullptr) found = &layer;
  }
  return found == nullptr ? layers.front() : *found;
}

std::string place_text(const Place& place) {
  return place.line > 0 ? place.file + ":" + std::to_string(place.line) : place.file;
}

struct OriginKeys {
  std::string_view value, label, source;
};

// Label and source out of the layer that gives the value; unchanged when none gives it.
void read_origin(std::vector<YamlMap>& layers, const OriginKeys& keys, std::string& label,
                 std::string& source) {
  first_with(layers, keys.label);
  first_with(layers, keys.source);
  YamlMap& giver = first_with(layers, keys.value);
  if (!giver.has(keys.value)) return;
  label = giver.choice_or(keys.label, "assumed", figure_labels());
  source = giver.text_or(keys.source, place_text(giver.place_of(keys.value)));
}

}  // namespace

std::span<const std::string> figure_labels() {
  static const std::vector<std::string> kLabels = {"measured", "fitted", "published", "roofline",
                                                   "assumed"};
  return kLabels;
}

ClusterParameters::ClusterParameters(std::vector<YamlMap> layers, std::string name)
    : layers_(std::move(layers)), name_(std::move(name)) {
  SIM_CHECK(!layers_.empty(), "a cluster is described somewhere");
  mistakes_before_ = mistakes().list().size();
}

YamlMap& ClusterParameters::find(std::string_view key) { return first_with(layers_, key); }

std::string ClusterParameters::text_or(std::string_view key, std::string fallback) {
  return find(key).text_or(key, std::move(fallback));
}
std::int64_t ClusterParameters::count_or(std::string_view key, std::int64_t fallback,
                                         CountRange range) {
  return find(key).count_or(key, fallback, range);
}
double ClusterParameters::number_or(std::string_view key, double fallback, NumberRange range) {
  return find(key).number_or(key, fallback, range);
}
std::string ClusterParameters::choice_or(std::string_view key, std::string fallback,
                                         std::span<const std::string> choices) {
  return find(key).choice_or(key, std::move(fallback), choices);
}

void ClusterParameters::mistake(std::string_view key, std::string message, std::string hint) {
  find(key).mistake(key, std::move(message), std::move(hint));
}

void ClusterParameters::finish() {
  for (YamlMap& layer : layers_) layer.finish();
}

std::vector<YamlMap> ClusterParameters::sections(std::string_view key) {
  std::vector<YamlMap> result;
  for (YamlMap& layer : layers_) {
    if (auto section = layer.map_if(key)) result.push_back(std::move(*section));
  }
  return result;
}

PortFigure ClusterParameters::port(std::string_view key,
                                   const std::optional<PortFigure>& fallback) {
  PortFigure figure = fallback.value_or(PortFigure{});
  std::vector<YamlMap> parts = sections(key);
  if (parts.empty()) {
    if (!fallback) find(key).map(key);  // says that it is missing
    return figure;
  }
  YamlMap& bandwidth = first_with(parts, "bandwidth");
  if (bandwidth.has("bandwidth") || !fallback) {
    const std::size_t before = mistakes().list().size();
    figure.bandwidth = bandwidth.bandwidth("bandwidth");
    if (figure.bandwidth.count() <= 0 && mistakes().list().size() == before) {
      bandwidth.mistake("bandwidth", "'bandwidth' in " + std::string(key) + " must be positive");
    }
  }
  figure.latency = first_with(parts, "latency").duration_or("latency", figure.latency);
  read_origin(parts, {"bandwidth", "label", "source"}, figure.label, figure.source);
  read_origin(parts, {"latency", "latency_label", "latency_source"}, figure.latency_label,
              figure.latency_source);
  for (YamlMap& part : parts) part.finish();
  return figure;
}

PortFigure ClusterParameters::latency_only(std::string_view key) {
  PortFigure figure;
  std::vector<YamlMap> parts = sections(key);
  if (parts.empty()) return figure;
  figure.latency = first_with(parts, "latency").duration_or("latency", Duration(0));
  read_origin(parts, {"latency", "label", "source"}, figure.latency_label, figure.latency_source);
  for (YamlMap& part : parts) part.finish();
  return figure;
}

}  // namespace sim
