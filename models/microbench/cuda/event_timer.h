// Times calls of a prepared case by events on its stream.
#pragma once

#include <memory>
#include <vector>

#include "models/microbench/cuda/cases/prepared_case.h"

namespace sim::device_code {

// Calls the copies in turn. A batch of calls is queued behind a kernel that waits about as long as
// the host needs to queue them, so the time is the device's: a call's kernels, and the gaps between
// them. As a graph, a call is captured once per copy and launched as one.
microbench::Timing time_on_device(Device& device,
                                  const std::vector<std::unique_ptr<PreparedCase>>& copies,
                                  const microbench::TimingPolicy& policy, bool graph);

// A kernel of this program, to ask whether it has machine code for the device.
const void* probe_kernel();

}  // namespace sim::device_code
