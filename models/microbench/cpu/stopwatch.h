// Times calls one by one and takes the median.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "models/microbench/backend.h"

namespace sim::microbench {

// Calls `run` with copies 0, 1, ... in turn: warm-ups first, then until both the least number of
// repeats and the least time of the policy are reached (or kMostRepeats).
Timing time_calls(const std::function<void(std::int64_t)>& run, std::int64_t copies,
                  const TimingPolicy& policy);

inline constexpr std::int64_t kMostRepeats = 20'000;

// Median, 10th and 90th percentile (the sample at or below). REQUIRES: not empty.
Timing timing_of(std::vector<double> seconds);

}  // namespace sim::microbench
