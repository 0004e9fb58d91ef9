// OpenBLAS picks its kernels by the CPU's model number when it is loaded. One that is newer than
// the library gets those of a CPU of 2004, several times slower than what it can do.
#pragma once

namespace sim::microbench {

// When that happened on a CPU with AVX2 and FMA, and OPENBLAS_CORETYPE is not set, starts this
// program again with OPENBLAS_CORETYPE=Haswell and does not return. Call it first in main.
void start_again_with_fitting_blas(char** argv);

}  // namespace sim::microbench
