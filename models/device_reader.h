// A device from a YAML file: models/devices/*.yaml.
//
//     name: h100-sxm
//     source: where the numbers are from
//     sms: 132
//     clock: 1.83 GHz                                        at which the peaks hold; may be absent
//     peak: {bf16: 989 TFLOP/s, fp8: 1979 TFLOP/s, fp32: 67 TFLOP/s}    dense; bf16, fp32 required
//     memory: {bandwidth: 3.35 TB/s, capacity: 80 GB}
//     efficiency: {compute: 0.80, fp8: 0.71, memory: 0.9, label: measured, source: ...}
//     kernels: [...]                       calibrated ones, as in models/costs/constants_file.h;
//                                          those of the catalog's devices have files of their own
#pragma once

#include <string>

#include "models/device.h"

namespace sim {

// Throws Error with every mistake of the file.
Device read_device(const std::string& path);
Device parse_device(const std::string& text, const std::string& file);

}  // namespace sim
