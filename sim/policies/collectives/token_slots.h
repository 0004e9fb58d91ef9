// The slots that one token's choices were assigned to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "sim/policies/placement/replica_split.h"
#include "traces/routing.h"

namespace sim {

// In the order of the token's choices. REQUIRES: per-token routing, assigned.
inline std::span<const std::int32_t> slots_of_token(const LayerRouting& routing,
                                                    const SlotAssignment& assignment,
                                                    std::int64_t token) {
  const std::int64_t* begin = routing.choice_begin.data() + token;
  return {assignment.slot_of_choice.data() + begin[0],
          static_cast<std::size_t>(begin[1] - begin[0])};
}

}  // namespace sim
