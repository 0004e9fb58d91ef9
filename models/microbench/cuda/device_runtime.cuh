// Device memory and kernel launches for the cases: the CUDA runtime under nvcc, host memory and
// emulation/block.h under a host compiler, so that the tests run the very code that prepares,
// launches and checks a case on a GPU.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "models/microbench/cuda/number_formats.cuh"
#include "sim/core/error.h"

#ifdef __CUDACC__
#include <cuda_runtime.h>
#else
#include "models/microbench/cuda/emulation/block.h"
#endif

namespace sim::device_code {

struct VendorMatrices;  // cases/vendor_matrices.h

#ifdef __CUDACC__
using Stream = cudaStream_t;

// Throws Error: a device that fails is not our bug (out of memory, a lost device).
inline void check_cuda(cudaError_t status, const char* what) {
  if (status != cudaSuccess)
    throw Error(std::string("CUDA: ") + what + ": " + cudaGetErrorString(status));
}
#else
using Stream = int;
#endif

// Where a case lives: a stream, and the multiprocessors that its kernels may fill.
struct Device {
  int sms = 1;
  Stream stream{};
  std::int64_t allocated = 0;        // bytes, of all arrays that live
  VendorMatrices* vendor = nullptr;  // none under emulation
#ifndef __CUDACC__
  emulation::Order order = emulation::Order::kAscendingEarlyCopies;
#endif
};

inline void fill_bytes(Device& device, void* target, int byte, std::size_t count) {
#ifdef __CUDACC__
  check_cuda(cudaMemsetAsync(target, byte, count, device.stream), "memset");
#else
  (void)device;
  if (count > 0) std::memset(target, byte, count);
#endif
}

inline void finish(Device& device) {
#ifdef __CUDACC__
  check_cuda(cudaStreamSynchronize(device.stream), "waiting for a stream");
#else
  (void)device;
#endif
}

// An array on the device; poisoned (all bits set: NaN, -1) until something writes it.
template <typename T>
class Array {
 public:
  Array() = default;
  Array(Device& device, std::int64_t count) : device_(&device), count_(count) {
    SIM_CHECK(count >= 0, "an array has a size");
    const std::size_t bytes = byte_count();
#ifdef __CUDACC__
    void* pointer = nullptr;
    check_cuda(cudaMalloc(&pointer, std::max<std::size_t>(bytes, 16)), "allocating memory");
    values_ = static_cast<T*>(pointer);
#else
    values_ = static_cast<T*>(::operator new(std::max<std::size_t>(bytes, 16), kAlignment));
#endif
    device.allocated += static_cast<std::int64_t>(bytes);
    poison();
  }
  Array(Array&& other) noexcept { swap(other); }
  Array& operator=(Array&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Array() {
    if (values_ == nullptr) return;
    device_->allocated -= static_cast<std::int64_t>(byte_count());
#ifdef __CUDACC__
    cudaFree(values_);
#else
    ::operator delete(values_, kAlignment);
#endif
  }

  T* data() const { return values_; }
  std::int64_t size() const { return count_; }
  void poison() { fill_bytes(*device_, values_, 0xff, byte_count()); }

  void upload(const std::vector<T>& values) {
    SIM_CHECK(static_cast<std::int64_t>(values.size()) == count_, "an upload fills the array");
#ifdef __CUDACC__
    finish(*device_);
    check_cuda(cudaMemcpy(values_, values.data(), byte_count(), cudaMemcpyHostToDevice), "upload");
#else
    if (!values.empty()) std::memcpy(values_, values.data(), byte_count());
#endif
  }
  // After everything on the stream is done.
  std::vector<T> download(std::int64_t first, std::int64_t count) const {
    SIM_CHECK(first >= 0 && count >= 0 && first + count <= count_, "a download lies in the array");
    std::vector<T> values(static_cast<std::size_t>(count));
    finish(*device_);
    const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(T);
#ifdef __CUDACC__
    check_cuda(cudaMemcpy(values.data(), values_ + first, bytes, cudaMemcpyDeviceToHost),
               "download");
#else
    if (bytes > 0) std::memcpy(values.data(), values_ + first, bytes);
#endif
    return values;
  }
  std::vector<T> download() const { return download(0, count_); }

 private:
#ifndef __CUDACC__
  static constexpr std::align_val_t kAlignment{256};
#endif
  std::size_t byte_count() const { return static_cast<std::size_t>(count_) * sizeof(T); }
  void swap(Array& other) {
    std::swap(device_, other.device_);
    std::swap(values_, other.values_);
    std::swap(count_, other.count_);
  }
  Device* device_ = nullptr;
  T* values_ = nullptr;
  std::int64_t count_ = 0;
};

// How many blocks of a kernel are worth starting: what fits on the device's multiprocessors at
// once, and no more than there is work. Kernels here walk over their work in steps of the grid.
template <typename... P>
int grid_of(const Device& device, void (*kernel)(P...), int threads, std::size_t shared_bytes,
            std::int64_t most_blocks) {
  int per_sm = 1;
#ifdef __CUDACC__
  if (shared_bytes > 48 * 1024)
    check_cuda(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                    cudaFuncAttributeMaxDynamicSharedMemorySize,
                                    static_cast<int>(shared_bytes)),
               "raising the shared memory of a kernel");
  check_cuda(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&per_sm, kernel, threads, shared_bytes),
             "asking how many blocks fit");
  if (per_sm < 1) throw Error("CUDA: a kernel does not fit on a multiprocessor of this device");
#else
  (void)kernel;
  (void)threads;
  (void)shared_bytes;
#endif
  const std::int64_t blocks = static_cast<std::int64_t>(device.sms) * per_sm;
  return static_cast<int>(std::max<std::int64_t>(1, std::min(blocks, most_blocks)));
}

template <typename... P>
void launch(const Device& device, void (*kernel)(P...), int blocks, int threads,
            std::size_t shared_bytes, std::type_identity_t<P>... arguments) {
#ifdef __CUDACC__
  kernel<<<blocks, threads, shared_bytes, device.stream>>>(arguments...);
  check_cuda(cudaGetLastError(), "starting a kernel");
#else
  emulation::run({blocks, threads, shared_bytes, device.order}, [&] { kernel(arguments...); });
#endif
}

}  // namespace sim::device_code
