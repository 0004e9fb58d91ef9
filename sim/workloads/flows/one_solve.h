// The short way for flows that begin together and of which no end changes another's rate, as when
// all sizes are equal: rates are found once.
#pragma once

#include <optional>

#include "sim/workloads/flows/flow_set.h"

namespace sim {

// Progressive filling once, then a proof that it suffices: of every full link, no flow at all ends
// before the last of those that the link limits. So at any time each flow that is left still has a
// full link on which none is faster, and the rates stay max-min fair. Nothing when the flows begin
// at different times, have weights, caps or multipliers, or the proof fails; then the full solver
// is needed. O(uses) and a queue of links.
std::optional<FlowTimes> solve_once(const FlowSet& set);

}  // namespace sim
