// Compiled twice: as CUDA by row_cases.cu, and by the host compiler for the tests.
#include "models/microbench/cuda/cases/memory_case.h"
#include "models/microbench/cuda/cases/own_cases.h"

namespace sim::device_code {

std::unique_ptr<PreparedCase> prepare_row_case(const KernelCase& what, Device& device) {
  if (what.kernel == "ceiling_memory") return std::make_unique<MemoryCase>(device, what);
  return nullptr;
}

}  // namespace sim::device_code
