// The vendor's matrix products: cuBLAS for bf16 (one call for all experts where it has the grouped
// call), cuBLASLt for fp8 (one call per expert). Both are loaded when first asked for.
#pragma once

#include <memory>
#include <string>

#include "models/microbench/cuda/cases/vendor_matrices.h"

namespace sim::device_code {

class VendorBlas : public VendorMatrices {
 public:
  VendorBlas();
  ~VendorBlas() override;

  // Why there are no products of the vendor here; empty when there are.
  const std::string& problem() const;
  // "cuBLAS 13.0.2; ...": which library, and how it is used.
  std::string description() const;

  std::unique_ptr<VendorProduct> prepare(const GroupedProblem& problem, Device& device) override;

 private:
  struct Library;
  std::unique_ptr<Library> library_;
};

}  // namespace sim::device_code
