// Compiled twice: as CUDA by matrix_cases.cu, and by the host compiler for the tests.
#include "models/microbench/cuda/cases/grouped_gemm_case.h"
#include "models/microbench/cuda/cases/own_cases.h"

namespace sim::device_code {

std::unique_ptr<PreparedCase> prepare_matrix_case(const KernelCase& what, Device& device) {
  if (what.kernel == "gemm" || what.kernel == "ceiling_matrix" || what.kernel == "grouped_gemm")
    return std::make_unique<GroupedGemmCase>(device, what);
  return nullptr;
}

}  // namespace sim::device_code
