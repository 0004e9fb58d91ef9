// routing.capacity of a scenario: how many rows an expert takes.
#pragma once

#include <optional>

#include "sim/input/yaml_reader.h"
#include "traces/gating/overflow.h"

namespace sim {

// Nothing when the key is absent: every choice is served. `weights`: whether the routing may have
// gate weights, which priority: score needs. `factor: adaptive` is the fullest expert over the
// mean, which drops nothing, at most `most` where that is given.
std::optional<CapacityRule> read_capacity(YamlMap& routing, bool weights);

}  // namespace sim
