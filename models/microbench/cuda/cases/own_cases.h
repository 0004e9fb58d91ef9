// From a kernel case to buffers and launches on a device, and which cases there are none for.
#pragma once

#include <memory>
#include <string>

#include "models/microbench/cuda/cases/prepared_case.h"

namespace sim::device_code {

// Why a case has no kernel here, whatever the device; empty when it has one.
std::string case_unsupported(const KernelCase& what);

// The most shared memory that a block of the case's kernels needs.
std::size_t block_shared_bytes(const KernelCase& what);

// REQUIRES: case_unsupported(what) is empty; device.vendor for the vendor's implementation.
std::unique_ptr<PreparedCase> prepare_case(const KernelCase& what, Device& device);

}  // namespace sim::device_code
