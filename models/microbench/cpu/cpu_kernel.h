// A case ready to run on the CPU, and the table of who makes which.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "models/microbench/backend.h"
#include "models/microbench/cpu/rotating_arrays.h"

namespace sim::microbench {

class CpuKernel {
 public:
  virtual ~CpuKernel() = default;
  // After the arrays are settled, before the first run: what depends on their values.
  virtual void prepare() {}
  // One call on one copy of the arrays: what is timed.
  virtual void run(std::int64_t copy) = 0;
  // Runs copy 0 into poisoned outputs and compares with double precision.
  virtual CheckResult check() = 0;
};

// Adds the arrays that it needs; `arrays` outlives the kernel.
using MakeCpuKernel = std::unique_ptr<CpuKernel> (*)(const KernelCase& kernel_case,
                                                     RotatingArrays& arrays);

struct CpuKernelEntry {
  std::string_view kernel;
  std::string_view implementation;  // vendor: its GEMMs are OpenBLAS'
  MakeCpuKernel make;
};
std::span<const CpuKernelEntry> cpu_kernels();

std::unique_ptr<CpuKernel> make_memory_ceiling(const KernelCase&, RotatingArrays&);
std::unique_ptr<CpuKernel> make_gemm(const KernelCase&, RotatingArrays&);
std::unique_ptr<CpuKernel> make_grouped_gemm(const KernelCase&, RotatingArrays&);
std::unique_ptr<CpuKernel> make_top_k(const KernelCase&, RotatingArrays&);
std::unique_ptr<CpuKernel> make_permute(const KernelCase&, RotatingArrays&);
std::unique_ptr<CpuKernel> make_unpermute(const KernelCase&, RotatingArrays&);
std::unique_ptr<CpuKernel> make_expert_ffn(const KernelCase&, RotatingArrays&);
std::unique_ptr<CpuKernel> make_activation(const KernelCase&, RotatingArrays&);
std::unique_ptr<CpuKernel> make_norm(const KernelCase&, RotatingArrays&);
std::unique_ptr<CpuKernel> make_quantise(const KernelCase&, RotatingArrays&);
std::unique_ptr<CpuKernel> make_attention(const KernelCase&, RotatingArrays&);
std::unique_ptr<CpuKernel> make_moe_layer(const KernelCase&, RotatingArrays&);

}  // namespace sim::microbench
