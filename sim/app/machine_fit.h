// From a file of the microbenchmark to a device: its ceilings are the data sheet, each of its
// kernels is fitted with the form of its family.
#pragma once

#include <string>
#include <vector>

#include "models/calibration/measurement_file.h"
#include "models/device.h"
#include "sim/input/fitting/error_summary.h"

namespace sim {

// A row far from the fit of its kernel: left out, and the fit made again.
struct OutlierRow {
  std::int64_t number = 0;  // in the file, from 1
  double factor = 1;        // measured / fitted
};

struct MachineKernel {
  KernelConstants constants;
  std::vector<std::string> moved;  // parameters that were fitted
  ErrorSummary fitted;             // rows that the constants were fitted to
  ErrorSummary held_out;  // each fourth of the rows, by a fit to the others; no rows: too few
  std::vector<OutlierRow> outliers;
};

struct MachineFit {
  Device device;  // whole: with its kernels
  std::vector<MachineKernel> kernels;
  std::vector<std::string>
      left_out;  // what the file measured and no constant uses, with the reason
};

// `file_name`: for ids and provenance. `sheet`: the data sheet to fit on (its own kernels are where
// the fit of few points begins); null: the ceilings of the file. Throws Error: no ceilings, or no
// kernel that has a form.
MachineFit fit_machine(const MeasurementFile& file, const std::string& file_name,
                       const std::string& device_name, const Device* sheet);

// The device with its kernels, as a device file.
std::string device_yaml(const Device& device);

}  // namespace sim
