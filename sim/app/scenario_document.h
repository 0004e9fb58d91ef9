// A scenario's document before it is read: to see its kind, or to change it beyond --set.
#pragma once

#include <memory>
#include <string>

#include "sim/app/scenario.h"
#include "sim/input/yaml_reader.h"

namespace sim {

// The file with the overrides applied. Throws Error.
std::unique_ptr<YamlDocument> load_scenario(const std::string& file,
                                            const ScenarioOverrides& overrides,
                                            const Catalog& catalog);

// Throws Error with every mistake found.
Scenario read_scenario(YamlDocument& document, const Catalog& catalog);

}  // namespace sim
