#include "traces/import/json_choices.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "traces/trace_file.h"

namespace sim {

void TokenChoices::clear() {
  ids.clear();
  counts.clear();
  weights.clear();
}

void read_ids(const JsonRecord& line, JsonValue list, std::int64_t layer, int experts,
              TokenChoices& to, std::int64_t* padding) {
  if (!list.is_list() || list.size() > kMostChoices) {
    line.fail(
        fmt::format("experts of layer {}: not a list of at most {} ids", layer, kMostChoices));
  }
  const std::size_t first = to.ids.size();
  for (const JsonValue id : list) {
    const auto number = id.integer();
    if (padding != nullptr && number == -1) {
      ++*padding;
      continue;
    }
    if (!number || *number < 0 || *number >= experts) {
      line.fail(fmt::format("experts of layer {}: {} is not an expert from 0 to {}", layer,
                            id.shown(), experts - 1));
    }
    const std::uint16_t e = static_cast<std::uint16_t>(*number);
    if (std::find(to.ids.begin() + static_cast<long>(first), to.ids.end(), e) != to.ids.end()) {
      line.fail(fmt::format("experts of layer {}: {} twice for one token", layer, e));
    }
    to.ids.push_back(e);
  }
  to.counts.push_back(static_cast<std::uint8_t>(to.ids.size() - first));
}

void read_weights(const JsonRecord& line, JsonValue list, std::int64_t layer, TokenChoices& to) {
  if (!list.is_list() || list.size() != to.counts.back()) {
    line.fail(fmt::format("weights of layer {}: not one per expert", layer));
  }
  for (const JsonValue weight : list) {
    const auto number = weight.number();
    if (!number || !(std::abs(*number) <= std::numeric_limits<float>::max())) {
      line.fail(fmt::format("weights of layer {}: not a number: {}", layer, weight.shown()));
    }
    to.weights.push_back(static_cast<float>(*number));
  }
}

}  // namespace sim
