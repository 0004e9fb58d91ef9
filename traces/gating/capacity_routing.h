// Expert capacity at replay: a routing source whose experts take no more rows than they may.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "traces/gating/overflow.h"
#include "traces/routing.h"

namespace sim {

// The routing of a source without the choices that find their expert full. A dropped choice makes
// no row and no traffic; its token goes on with the choices it has left, perhaps none. With
// kTogether the tokens of `group_ranks` ranks in a row (an expert-parallel group) have one
// capacity; every such group has experts of its own.
//
// Counted steps keep min(count, capacity) per expert whatever the priority. Whose rows those are is
// known only per source rank: with kTogether fill() throws Error where it would have to drop.
// The routing of a source without the choices that find their expert full: no row and no traffic;
// their token goes on with the choices it has left, perhaps none. With kTogether the tokens of
// `group_ranks` ranks in a row (an expert-parallel group) have one capacity; every such group has
// experts of its own.
//
// Counted steps keep min(count, capacity) per expert whatever the priority. Whose rows those are is
// known only per source rank: with kTogether fill() throws Error where it would have to drop.
//
// `gate_weights`: where `inner` writes those of the choices of each fill(); kScore needs them.
// REQUIRES: the source's ranks are a multiple of group_ranks.
std::unique_ptr<RoutingSource> with_capacity(
    std::unique_ptr<RoutingSource> inner, const CapacityRule& rule, int top_k, int group_ranks,
    std::shared_ptr<const std::vector<float>> gate_weights = nullptr);

}  // namespace sim
