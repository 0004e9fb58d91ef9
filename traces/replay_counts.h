// A trace of counts as a routing source: tokens drawn from the recorded share of every expert.
#pragma once

#include <memory>

#include "traces/replay.h"

namespace sim {

// `layer_of[l]` is the trace layer that routed layer l of the model replays. Throws Error: a
// damaged file, an unknown tag, or a layer in which fewer than top-k experts were ever chosen.
std::unique_ptr<RoutingSource> make_count_replay(const std::string& path, std::vector<int> layer_of,
                                                 int top_k,
                                                 std::vector<std::int64_t> tokens_per_rank,
                                                 std::uint64_t seed, const ReplayOptions& options);

}  // namespace sim
