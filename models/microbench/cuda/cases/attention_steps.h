// Attention as a step of a case.
#pragma once

#include <string>

#include "models/microbench/cuda/cases/prepared_case.h"

namespace sim::device_code {

// Why there is no attention kernel for a case; empty when there is one.
std::string attention_unsupported(const KernelCase& what);

// Shared memory that a block of the case's kernel needs.
std::size_t attention_shared_bytes(const KernelCase& what);

void add_attention(PreparedCase& prepared, const KernelCase& what);

}  // namespace sim::device_code
