// Matrix products of the vendor's library, as the cases ask for them. Only a CUDA build has one.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "models/microbench/cuda/device_runtime.cuh"
#include "models/microbench/cuda/kernels/grouped_gemm.h"

namespace sim::device_code {

// One product per expert, in the layouts of kernels/grouped_gemm.h; a plain GEMM has one expert.
struct GroupedProblem {
  GemmPass pass = GemmPass::kForward;
  bool fp8 = false;
  const void* a = nullptr;
  const void* b = nullptr;
  Bf16* out = nullptr;
  const float* a_scales = nullptr;  // the vendor's fp8 product has one scale per tensor, of 1
  const float* b_scales = nullptr;
  const std::int32_t* offsets = nullptr;   // on the device
  std::vector<std::int64_t> host_offsets;  // the same, experts + 1
  std::int64_t n = 0;
  std::int64_t k = 0;
  std::int64_t experts() const { return static_cast<std::int64_t>(host_offsets.size()) - 1; }
};

struct VendorProduct {
  virtual ~VendorProduct() = default;
  virtual void enqueue() = 0;  // the whole product, on the device's stream
};

struct VendorMatrices {
  virtual ~VendorMatrices() = default;
  virtual std::unique_ptr<VendorProduct> prepare(const GroupedProblem& problem, Device& device) = 0;
};

}  // namespace sim::device_code
