// What runs kernels: a device with a way to time a case and a way to check its results.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "models/calibration/measurement_file.h"
#include "models/microbench/kernel_case.h"

namespace sim::microbench {

using DeviceFacts = MeasuredDevice;
using TimingPolicy = MeasurementMethod;

// Seconds of one call.
struct Timing {
  double median_s = 0;
  double p10_s = 0;
  double p90_s = 0;
  std::int64_t repeats = 0;
};

// The worst |result - reference| of a case over the largest |reference| of the same output; NaN
// when a value that the kernel had to write still holds the poison.
struct CheckResult {
  double worst_error = 0;
  double tolerance = 0;
  std::string where;  // which output was worst, for the message
  bool passed() const { return worst_error <= tolerance; }  // false for NaN
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string name() const = 0;  // "cpu", "cuda"
  virtual DeviceFacts facts() const = 0;
  virtual TimingPolicy timing(bool quick) const = 0;
  // Why a case cannot run here; empty when it can.
  virtual std::string unsupported(const KernelCase& kernel_case) const = 0;
  // REQUIRES of both: unsupported(case) is empty.
  virtual Timing time(const KernelCase& kernel_case, const TimingPolicy& policy) = 0;
  virtual CheckResult check(const KernelCase& kernel_case) = 0;
};

// threads: of the BLAS. Throws Error when the machine has fewer.
std::unique_ptr<Backend> make_cpu_backend(int threads);

// Defined where MOE_HAVE_CUDA is. Throws Error when there is no driver or no device.
std::unique_ptr<Backend> make_cuda_backend();

}  // namespace sim::microbench
