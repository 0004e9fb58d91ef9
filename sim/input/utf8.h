// Whether text is UTF-8: what goes into a file that says it holds UTF-8 (Protobuf, JSON).
#pragma once

#include <cstddef>
#include <string_view>

namespace sim {

// Bytes of the first character, 1 to 4; 0 when it is none: no continuation where one must be, a
// surrogate, above U+10FFFF, or longer than it need be. REQUIRES: not empty.
std::size_t utf8_character(std::string_view text);

bool is_utf8(std::string_view text);

}  // namespace sim
