// A twin's arrays must be as long as its sizes say: a short one is our bug, never a silent overrun.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "sim/core/error.h"

namespace sim::reference {

struct ArraySize {
  std::size_t have = 0;
  std::int64_t need = 0;
};

inline void check_sizes(std::initializer_list<ArraySize> sizes) {
  for (const ArraySize& size : sizes) {
    SIM_CHECK(size.need >= 0 && size.have >= static_cast<std::size_t>(size.need),
              "an array of a kernel is as long as its sizes say");
  }
}

}  // namespace sim::reference
