// A stream whose kernels may use only some of a device's multiprocessors: a green context of the
// driver (CUDA 12.5 and newer). The driver rounds the number up to what the device can split.
#pragma once

#include <cuda_runtime.h>

#include <memory>
#include <string>

namespace sim::device_code {

class SmPartition {
 public:
  // Throws Error when the driver cannot do it.
  explicit SmPartition(int sms);
  ~SmPartition();
  SmPartition(const SmPartition&) = delete;
  SmPartition& operator=(const SmPartition&) = delete;

  int sms() const;  // that its kernels really have
  cudaStream_t stream() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace sim::device_code
