// Arrays of a layer's experts are padded to whole blocks, so that loops over them need no rest.
#pragma once

#include <cstddef>

namespace sim {

inline constexpr std::size_t kBlock = 8;
inline std::size_t padded(std::size_t experts) { return (experts + kBlock - 1) / kBlock * kBlock; }

}  // namespace sim
