// Text as a scalar of YAML.
#pragma once

#include <string>
#include <string_view>

namespace sim {

// In double quotes; quotes, backslashes and control characters are escaped, so that any text of
// UTF-8 reads back as itself.
std::string yaml_quoted(std::string_view text);

// As it stands where that is read back as the same text anywhere, else quoted.
std::string yaml_scalar(std::string_view text);

}  // namespace sim
