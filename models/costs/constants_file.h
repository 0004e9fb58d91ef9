// Kernel constants as YAML: models/calibration/constants/<device>.yaml, and the `kernels:` of a
// device file that `simulate calibrate fit` wrote.
//
//   device: h100-sxm
//   kernels:
//   - kernel: expert_ffn                 # KernelFamily
//     source: sglang-deepgemm            # who wrote the kernel; the first entry of a family and
//     also: [deepepmoe]                  # format is what a run takes by itself
//     format: fp8_block
//     operators: [residual_norm]         # streaming kernels: which ones; absent: all
//     form: grouped-gemm
//     constants: {start: 21 us, ...}     # FormParameter; every parameter that has no `absent` use
//     range: {tokens: [1, 65536], ...}   # of the form's extents, all of them or none
//     covers: [activation, permute]      # operators whose time is inside
//     corrections: [{shape: [7168, 2048], sizes: [1, 4, 16], log_ratios: [0.01, -0.02, 0]}]
//     label: fitted
//     provenance: "..."
//     fitted_to: ["table#1-300/2"]
//   borrowed:                            # behind the device's own, in this order
//   - from: h100-sxm                     # a device of the catalog, whose own entries are lent
//     kernels: [expert_ffn]              # absent: all of them, as the next two
//     sources: [sglang-deepgemm]
//     formats: [fp8_block]
//     scale: data-sheet                  # data-sheet | reachable | sm-clock: borrowed_constants.h
//     reason: "the same die"
#pragma once

#include <string>
#include <vector>

#include "models/costs/borrowed_constants.h"
#include "models/costs/kernel_constants.h"
#include "sim/input/yaml_reader.h"

namespace sim {

// The entries of a `kernels:` list. Mistakes are recorded.
std::vector<KernelConstants> read_kernel_list(std::span<const YamlNode> entries,
                                              Mistakes& mistakes);

struct ConstantsFile {
  std::string device;
  Place device_place;
  std::vector<KernelConstants> kernels;
  std::vector<BorrowedKernels> borrowed;
};
ConstantsFile read_constants_file(const std::string& path);  // throws Error with every mistake
ConstantsFile parse_constants(const std::string& text, const std::string& name);

// One entry, `indent` spaces before every line. Values are rounded to three digits, corrections to
// four decimals.
std::string to_yaml(const KernelConstants& constants, int indent);

}  // namespace sim
