// What one GPU can do, from its data sheet or a measurement; each number with its source in
// models/devices/*.yaml.
#pragma once

#include <map>
#include <string>

#include "models/dtype.h"
#include "sim/core/units.h"

namespace sim {

struct Device {
  std::string name;  // "h100-sxm"
  std::string source;
  int sms = 0;
  std::map<DType, FlopRate> peak;  // dense tensor-core peak
  Bandwidth memory_bandwidth;      // HBM peak
  Bytes memory_capacity;
  double compute_efficiency = 1;             // reachable share of peak for large GEMMs
  double memory_efficiency = 1;              // reachable share of peak HBM bandwidth
  std::string efficiency_label = "assumed";  // measured | fitted | published | assumed
  std::string efficiency_source;
};

}  // namespace sim
