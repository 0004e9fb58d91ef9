// The rows of `simulate collective` with the bandwidths that nccl-tests and DeepEP define.
#pragma once

#include <string>
#include <string_view>

#include "sim/app/collective_sweep.h"

namespace sim {

// Bus bandwidth over algorithm bandwidth of nccl-tests (doc/PERFORMANCE.md) for `ranks` ranks:
// all-reduce 2 (g-1)/g; all-to-all, all-gather, reduce-scatter (g-1)/g; the others 1.
double bus_factor(std::string_view operation, int ranks);

// `detail`: also where the slowest rank's time went, and the busiest link.
std::string sweep_text(const CollectiveSweep& sweep, bool detail);
std::string sweep_json(const CollectiveSweep& sweep);

}  // namespace sim
