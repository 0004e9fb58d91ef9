// Copies between host and device (pinned memory), between devices, and NCCL's exchanges among the
// devices of this machine (one process, one communicator per device, loaded when asked for).
#pragma once

#include <memory>
#include <string>

#include "models/microbench/cuda/cases/prepared_case.h"

namespace sim::device_code {

bool is_transfer(const KernelCase& what);

// Why this machine cannot run it; empty when it can. REQUIRES: is_transfer(what).
std::string transfer_unsupported(const KernelCase& what);

// REQUIRES: transfer_unsupported(what) is empty. `bytes` are those of one direction (host_copy), of
// the copy (peer_copy), of what each rank sends in all (all_to_all, its own part among them) or has
// (all_reduce). The time is that of device 0's stream.
std::unique_ptr<PreparedCase> prepare_transfer(const KernelCase& what, Device& device);

}  // namespace sim::device_code
