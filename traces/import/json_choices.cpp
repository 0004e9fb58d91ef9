#include "traces/import/json_choices.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "traces/trace_file.h"

namespace sim {

using nlohmann::json;

void TokenChoices::clear() {
  ids.clear();
  counts.clear();
  weights.clear();
}

void read_ids(const JsonRecord& line, const json& list, std::int64_t layer, int experts,
              TokenChoices& to, std::int64_t* padding) {
  if (!list.is_array() || list.size() > kMostChoices) {
    line.fail(
        fmt::format("experts of layer {}: not a list of at most {} ids", layer, kMostChoices));
  }
  const std::size_t first = to.ids.size();
  for (const json& id : list) {
    if (padding != nullptr && id.is_number_integer() && id.get<std::int64_t>() == -1) {
      ++*padding;
      continue;
    }
    if (!id.is_number_unsigned() ||
        id.get<std::uint64_t>() >= static_cast<std::uint64_t>(experts)) {
      line.fail(fmt::format("experts of layer {}: {} is not an expert from 0 to {}", layer,
                            shown(id), experts - 1));
    }
    const std::uint16_t e = id.get<std::uint16_t>();
    if (std::find(to.ids.begin() + static_cast<long>(first), to.ids.end(), e) != to.ids.end()) {
      line.fail(fmt::format("experts of layer {}: {} twice for one token", layer, e));
    }
    to.ids.push_back(e);
  }
  to.counts.push_back(static_cast<std::uint8_t>(to.ids.size() - first));
}

void read_weights(const JsonRecord& line, const json& list, std::int64_t layer, TokenChoices& to) {
  if (!list.is_array() || list.size() != to.counts.back()) {
    line.fail(fmt::format("weights of layer {}: not one per expert", layer));
  }
  for (const json& weight : list) {
    if (!weight.is_number() ||
        !(std::abs(weight.get<double>()) <= std::numeric_limits<float>::max())) {
      line.fail(fmt::format("weights of layer {}: not a number: {}", layer, shown(weight)));
    }
    to.weights.push_back(weight.get<float>());
  }
}

}  // namespace sim
