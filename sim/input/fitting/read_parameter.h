// The value of a constant as YAML holds it, with the unit of its kind.
#pragma once

#include "sim/input/fitting/fit_parameter.h"
#include "sim/input/yaml_reader.h"

namespace sim {

// SI units; `numbers`: where a share or a number may lie. Mistakes are recorded in the map.
double read_parameter(YamlMap& map, const FormParameter& parameter, NumberRange numbers);

}  // namespace sim
