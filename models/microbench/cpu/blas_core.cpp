#include "models/microbench/cpu/blas_core.h"

#include <cblas.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace sim::microbench {

void start_again_with_fitting_blas([[maybe_unused]] char** argv) {
#if defined(__x86_64__) && defined(__linux__)
  const bool oldest = std::string(openblas_get_corename()) == "Prescott";
  const bool newer = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (!oldest || !newer || std::getenv("OPENBLAS_CORETYPE") != nullptr) return;
  setenv("OPENBLAS_CORETYPE", "Haswell", 1);
  execv("/proc/self/exe", argv);  // when it fails, the slow kernels do: the facts name them
#endif
}

}  // namespace sim::microbench
