// Kernels that treat every row alone as steps of a case: SwiGLU, RMS norm, quantise, and memory.
#pragma once

#include "models/microbench/cuda/cases/prepared_case.h"

namespace sim::device_code {

// Reads, writes, copies or triads the bytes of the case.
void add_memory(PreparedCase& prepared, const KernelCase& what);

// in[rows][2 * inter] -> [rows][inter]
Array<Bf16>& add_swiglu(PreparedCase& prepared, std::int64_t rows, std::int64_t inter,
                        const Array<Bf16>& in);
// -> d(in)
Array<Bf16>& add_swiglu_backward(PreparedCase& prepared, std::int64_t rows, std::int64_t inter,
                                 const Array<Bf16>& in, const Array<Bf16>& dout);

Array<Bf16>& add_norm(PreparedCase& prepared, std::int64_t rows, std::int64_t hidden,
                      const Array<Bf16>& x);
void add_norm_backward(PreparedCase& prepared, std::int64_t rows, std::int64_t hidden);

struct Quantised {
  Array<Fp8>* values;
  Array<float>* scales;
};
Quantised add_quantise(PreparedCase& prepared, std::int64_t rows, std::int64_t hidden,
                       const Array<Bf16>& in);

// Row `row` of `out` with its scales is `values` quantised.
void check_quantised_row(const std::string& name, Comparison& comparison,
                         const std::vector<double>& values, const Array<Fp8>& out,
                         const Array<float>& scales, std::int64_t row);

}  // namespace sim::device_code
