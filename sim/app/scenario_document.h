// A scenario out of a document that is not a file of its own, or was changed beyond --set.
#pragma once

#include "sim/app/scenario.h"
#include "sim/input/yaml_reader.h"

namespace sim {

// Throws Error with every mistake found.
Scenario read_scenario(YamlDocument& document, const Catalog& catalog);

}  // namespace sim
