#include "models/microbench/cuda/management_library.h"

#include "models/microbench/cuda/shared_library.h"

namespace sim::device_code {
namespace {

// From the reference manual of NVML: results are an enum with success 0, a device is a pointer, and
// the clock of the multiprocessors is number 1.
using Device = void*;
constexpr int kMultiprocessorClock = 1;

}  // namespace

ManagementFacts ask_management_library(const std::string& bus_id) {
  ManagementFacts facts;
  const SharedLibrary library({"libnvidia-ml.so.1"}, "");
  int (*begin)() = nullptr;
  int (*end)() = nullptr;
  int (*driver_version)(char*, unsigned) = nullptr;
  int (*device_of)(const char*, Device*) = nullptr;
  int (*clock)(Device, int, unsigned*) = nullptr;
  int (*most_clock)(Device, int, unsigned*) = nullptr;
  if (!library.find(begin, "nvmlInit_v2") || !library.find(end, "nvmlShutdown") || begin() != 0)
    return facts;
  char text[96] = "";
  if (library.find(driver_version, "nvmlSystemGetDriverVersion") &&
      driver_version(text, sizeof text) == 0)
    facts.driver = text;
  Device device = nullptr;
  if (library.find(device_of, "nvmlDeviceGetHandleByPciBusId_v2") &&
      device_of(bus_id.c_str(), &device) == 0) {
    unsigned mhz = 0;
    if (library.find(clock, "nvmlDeviceGetClockInfo") &&
        clock(device, kMultiprocessorClock, &mhz) == 0)
      facts.clock_mhz = mhz;
    if (library.find(most_clock, "nvmlDeviceGetMaxClockInfo") &&
        most_clock(device, kMultiprocessorClock, &mhz) == 0)
      facts.most_clock_mhz = mhz;
  }
  end();
  return facts;
}

}  // namespace sim::device_code
