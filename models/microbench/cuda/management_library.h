// What the driver's management library (NVML) says of a device: driver version and clocks. Its
// types are written here because the toolkit need not have its header.
#pragma once

#include <string>

namespace sim::device_code {

struct ManagementFacts {
  std::string driver;         // "580.65.06"; empty: not known
  double clock_mhz = 0;       // of the multiprocessors, now; 0: not known
  double most_clock_mhz = 0;  // 0: not known
};

// `bus_id`: of PCI, as cudaDeviceGetPCIBusId gives it. Everything unknown where NVML is absent.
ManagementFacts ask_management_library(const std::string& bus_id);

}  // namespace sim::device_code
