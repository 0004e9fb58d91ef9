// What one GPU can do, from its data sheet or a measurement; each number with its source in
// models/devices/*.yaml.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "models/costs/kernel_constants.h"
#include "models/dtype.h"
#include "sim/core/units.h"

namespace sim {

struct Device {
  std::string name;  // "h100-sxm"
  std::string source;
  int sms = 0;
  double clock_hz = 0;             // boost clock at which the peaks hold; 0: not given
  std::map<DType, FlopRate> peak;  // dense tensor-core peak
  Bandwidth memory_bandwidth;      // HBM peak
  Bytes memory_capacity;
  double compute_efficiency = 1;             // reachable share of peak for large GEMMs, bf16
  std::map<DType, double> efficiency_of;     // the same where a format was measured by itself
  double memory_efficiency = 1;              // reachable share of peak HBM bandwidth
  std::string efficiency_label = "assumed";  // measured | fitted | published | assumed
  std::string efficiency_source;
  // Calibrated kernels (models/calibration/constants); of several for one call the first is used.
  std::vector<KernelConstants> kernels;
};

// The format in which the device multiplies what was asked for in `dtype`: `dtype` itself where the
// device has a peak for it, else the next wider one that it has (mxfp4, nvfp4, int4 -> bf16 as in
// weight-only kernels; fp8, int8, fp16 -> bf16; fp32 -> tf32 never: it must be given).
// REQUIRES: the device has a peak for bf16 and fp32 (read_device checks).
DType multiplied_on(const Device& device, DType dtype);
// The same device at another clock: its peaks scale, memory does not. REQUIRES: both clocks > 0.
Device at_clock(const Device& device, double hz);

FlopRate peak_rate(const Device& device, DType dtype);         // of multiplied_on
double compute_efficiency(const Device& device, DType dtype);  // of multiplied_on

}  // namespace sim
