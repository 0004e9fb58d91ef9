// cuBLAS and cuBLASLt, loaded when first asked for: the functions that vendor_blas.cu calls.
#pragma once

#include <cublasLt.h>
#include <cublas_v2.h>

#include <string>

#include "models/microbench/cuda/device_runtime.cuh"
#include "models/microbench/cuda/shared_library.h"

namespace sim::device_code {

inline void check_blas(cublasStatus_t status, const std::string& what) {
  if (status != CUBLAS_STATUS_SUCCESS)
    throw Error("cuBLAS: " + what + " failed with status " + std::to_string(status));
}

inline std::string library_name(const char* library, int major) {
  return std::string("lib") + library + ".so." + std::to_string(major);
}

struct CublasLibrary {
  static constexpr std::size_t kWorkspaceBytes = 64 << 20;

  SharedLibrary blas{{library_name("cublas", CUBLAS_VER_MAJOR)}, MOE_CUDA_LIBRARIES};
  SharedLibrary blas_lt{{library_name("cublasLt", CUBLAS_VER_MAJOR)}, MOE_CUDA_LIBRARIES};
  std::string problem;  // why nothing can be called; empty when all can
  cublasHandle_t handle = nullptr;
  cublasLtHandle_t lt_handle = nullptr;
  void* workspace = nullptr;

#define MOE_FUNCTION(name) decltype(&::name) name = nullptr
  MOE_FUNCTION(cublasCreate_v2);
  MOE_FUNCTION(cublasDestroy_v2);
  MOE_FUNCTION(cublasSetStream_v2);
  MOE_FUNCTION(cublasSetWorkspace_v2);
  MOE_FUNCTION(cublasGetVersion_v2);
  MOE_FUNCTION(cublasGemmGroupedBatchedEx);
  MOE_FUNCTION(cublasLtCreate);
  MOE_FUNCTION(cublasLtDestroy);
  MOE_FUNCTION(cublasLtMatmul);
  MOE_FUNCTION(cublasLtMatmulDescCreate);
  MOE_FUNCTION(cublasLtMatmulDescDestroy);
  MOE_FUNCTION(cublasLtMatmulDescSetAttribute);
  MOE_FUNCTION(cublasLtMatrixLayoutCreate);
  MOE_FUNCTION(cublasLtMatrixLayoutDestroy);
  MOE_FUNCTION(cublasLtMatmulPreferenceCreate);
  MOE_FUNCTION(cublasLtMatmulPreferenceDestroy);
  MOE_FUNCTION(cublasLtMatmulPreferenceSetAttribute);
  MOE_FUNCTION(cublasLtMatmulAlgoGetHeuristic);
#undef MOE_FUNCTION

  // The pointer's type is that of the declaration, so a call is checked by the compiler.
  template <typename Function>
  void need(const SharedLibrary& library, Function*& function, const char* name) {
    if (!library.find(function, name) && problem.empty())
      problem = std::string("the vendor's library has no ") + name;
  }

  CublasLibrary() {
    for (const SharedLibrary* library : {&blas_lt, &blas}) {
      if (!library->loaded()) {
        problem = "the vendor's library does not load: " + library->problem();
        return;
      }
    }
#define MOE_NEED(library, name) need(library, name, #name)
    MOE_NEED(blas, cublasCreate_v2);
    MOE_NEED(blas, cublasDestroy_v2);
    MOE_NEED(blas, cublasSetStream_v2);
    MOE_NEED(blas, cublasSetWorkspace_v2);
    MOE_NEED(blas, cublasGetVersion_v2);
    MOE_NEED(blas, cublasGemmGroupedBatchedEx);
    MOE_NEED(blas_lt, cublasLtCreate);
    MOE_NEED(blas_lt, cublasLtDestroy);
    MOE_NEED(blas_lt, cublasLtMatmul);
    MOE_NEED(blas_lt, cublasLtMatmulDescCreate);
    MOE_NEED(blas_lt, cublasLtMatmulDescDestroy);
    MOE_NEED(blas_lt, cublasLtMatmulDescSetAttribute);
    MOE_NEED(blas_lt, cublasLtMatrixLayoutCreate);
    MOE_NEED(blas_lt, cublasLtMatrixLayoutDestroy);
    MOE_NEED(blas_lt, cublasLtMatmulPreferenceCreate);
    MOE_NEED(blas_lt, cublasLtMatmulPreferenceDestroy);
    MOE_NEED(blas_lt, cublasLtMatmulPreferenceSetAttribute);
    MOE_NEED(blas_lt, cublasLtMatmulAlgoGetHeuristic);
#undef MOE_NEED
    if (!problem.empty()) return;
    if (cublasCreate_v2(&handle) != CUBLAS_STATUS_SUCCESS ||
        cublasLtCreate(&lt_handle) != CUBLAS_STATUS_SUCCESS) {
      problem = "the vendor's library does not start on this device";
      return;
    }
    check_cuda(cudaMalloc(&workspace, kWorkspaceBytes), "allocating the workspace of cuBLAS");
  }
  CublasLibrary(const CublasLibrary&) = delete;
  CublasLibrary& operator=(const CublasLibrary&) = delete;
  ~CublasLibrary() {
    if (handle != nullptr) cublasDestroy_v2(handle);
    if (lt_handle != nullptr) cublasLtDestroy(lt_handle);
    cudaFree(workspace);
  }

  // cublasSetStream gives the handle its own workspace again, so ours is set after it.
  void use(const Device& device) {
    check_blas(cublasSetStream_v2(handle, device.stream), "setting the stream");
    check_blas(cublasSetWorkspace_v2(handle, workspace, kWorkspaceBytes), "setting the workspace");
  }
};

}  // namespace sim::device_code
