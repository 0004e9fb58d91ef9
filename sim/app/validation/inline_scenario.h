// A mapping inside a YAML file as a document of its own.
#pragma once

#include <memory>
#include <string>

#include "sim/input/yaml_reader.h"

namespace sim {

// The mapping at a dotted path of `file`. Values and keys stand on the lines and, where they can,
// in the columns of the file, so that mistakes are placed there. REQUIRES: the path goes through
// mappings that have these keys, to a mapping.
std::unique_ptr<YamlDocument> load_part(const std::string& file, const std::string& path);

}  // namespace sim
