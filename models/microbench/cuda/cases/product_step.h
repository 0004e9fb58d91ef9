// A grouped product as a step of a case: our kernel, or the vendor's library.
#pragma once

#include "models/microbench/cuda/cases/prepared_case.h"
#include "models/microbench/cuda/cases/vendor_matrices.h"

namespace sim::device_code {

// Where each expert's rows begin, and at the end how many there are: on the host and on the device.
struct RowOffsets {
  std::vector<std::int64_t> host;
  const std::int32_t* device = nullptr;
  std::int64_t experts() const { return static_cast<std::int64_t>(host.size()) - 1; }
  std::int64_t total() const { return host.back(); }
};
RowOffsets row_offsets(PreparedCase& prepared, const std::vector<std::int64_t>& rows,
                       std::int64_t tile);

// An operand in bf16, or in fp8 with scales.
struct Matrix {
  const Array<Bf16>* bf16 = nullptr;
  const Array<Fp8>* fp8 = nullptr;
  const Array<float>* scales = nullptr;
};
Matrix random_rows(PreparedCase& prepared, bool fp8, std::int64_t rows, std::int64_t width);
Matrix random_weights(PreparedCase& prepared, bool fp8, std::int64_t experts, std::int64_t n,
                      std::int64_t k);

// Adds the product with its check; returns its output. a and b as in kernels/grouped_gemm.h.
Array<Bf16>& add_product(PreparedCase& prepared, const std::string& name, GemmPass pass,
                         const RowOffsets& offsets, std::int64_t n, std::int64_t k, const Matrix& a,
                         const Matrix& b);

}  // namespace sim::device_code
