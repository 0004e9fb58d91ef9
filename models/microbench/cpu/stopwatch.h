// Times calls one by one and takes the median.
//
// A call's time is the steady clock's. When other processes took the core from it, its thread's CPU
// time is shorter, and is taken instead: a machine that does other work too (builds, other tests)
// would else measure its scheduler. What they cost through shared caches and memory stays in it.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "models/microbench/backend.h"

namespace sim::microbench {

// Calls `run` with copies 0, 1, ... in turn: warm-ups first, then until both the least number of
// repeats and the least time of the policy are reached (or kMostRepeats).
// With kSteady only the steady clock counts: for calls that other threads help with.
enum class CallClock { kSteadyOrOwn, kSteady };
Timing time_calls(const std::function<void(std::int64_t)>& run, std::int64_t copies,
                  const TimingPolicy& policy, CallClock clock);

inline constexpr std::int64_t kMostRepeats = 20'000;

// Median, 10th and 90th percentile (the sample at or below). REQUIRES: not empty.
Timing timing_of(std::vector<double> seconds);

}  // namespace sim::microbench
