// Which copy of an expert serves which row, when an expert has several.
//
// A split is a pure function of the routing and the placement, so every layer is decided anew. With
// per-token routing whole (token, choice) rows move; with counts, integers that add up exactly.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "sim/policies/placement/placement.h"
#include "traces/routing.h"

namespace sim {

struct SlotAssignment {
  int source_ranks = 0;
  int slots = 0;
  std::vector<std::int32_t>
      slot_of_choice;              // parallel to LayerRouting::choices; counts form: empty
  std::vector<std::int64_t> rows;  // rows[source rank * slots + slot]

  std::int64_t rows_from(int source_rank, std::int32_t slot) const {
    return rows[static_cast<std::size_t>(source_rank) * static_cast<std::size_t>(slots) +
                static_cast<std::size_t>(slot)];
  }
  std::vector<std::int64_t> rows_per_slot() const;  // summed over source ranks
  // Summed over source ranks and the rank's slots: what imbalance_max_over_mean is taken of.
  std::vector<std::int64_t> rows_per_rank(int slots_per_rank) const;
};

// Source rank r sits with rank r of the placement (modulo its ranks), on node r / ranks_per_node.
struct SplitInput {
  const LayerRouting& routing;
  const ExpertPlacement& placement;
  int ranks_per_node = 1;
};

using SplitFunction = void(const SplitInput&, SlotAssignment&);
SplitFunction split_modulo, split_even, split_nearest, split_least_loaded;

struct ReplicaSplit {
  std::string_view name;
  std::string_view help;
  SplitFunction* assign;
};

// With counts no token index is known; `modulo` then is `even`.
inline constexpr std::array kReplicaSplits{
    ReplicaSplit{"modulo",
                 "copy (token index in its source rank + source rank) mod copies (the default)",
                 &split_modulo},
    ReplicaSplit{"even", "a source rank's rows for an expert in turn over its copies", &split_even},
    ReplicaSplit{"nearest", "a copy on the same rank, else on the same node, else modulo",
                 &split_nearest},
    ReplicaSplit{"least-loaded", "the copy whose rank has the fewest rows so far, in token order",
                 &split_least_loaded},
};

// Throws Error with the nearest name when there is none.
const ReplicaSplit& find_replica_split(std::string_view name);

// Fills `out`, whose storage is reused from call to call.
// REQUIRES: routing and placement of the same experts; choices below experts; ranks_per_node > 0.
void assign_slots(const ReplicaSplit& split, const SplitInput& input, SlotAssignment& out);

}  // namespace sim
