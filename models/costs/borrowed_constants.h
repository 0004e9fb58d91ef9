// Constants of kernels that nobody measured on a device: those of another device, and those of a
// near format. Always labelled `assumed`, with the words of whom they are from and the rows that
// these were fitted to.
//
// Constants are shares of the data sheet, so on another device they are taken as they are
// (`data-sheet`); or with the compute share times the ratio of what large GEMMs reach of the two
// peaks (`reachable`: a device with a cut peak reaches a higher share of it); or so that compute
// and memory time scale with SM count x clock (`sm-clock`: weight-only kernels are bound by the
// instructions that widen the weights; reference measurements of Marlin kernels moved from H100 to
// A100 and B200 were off by a median of 9 to 18 % so, and by 42 to 53 % by data-sheet ratios).
#pragma once

#include <string>
#include <vector>

#include "models/device.h"
#include "sim/core/error.h"

namespace sim {

enum class BorrowScale { kDataSheet, kReachable, kSmClock };

struct BorrowedKernels {
  std::string from;                    // a catalog device; only its own entries are lent
  std::vector<KernelFamily> families;  // empty: all, as the next two
  std::vector<std::string> sources;
  std::vector<KernelFormat> formats;
  BorrowScale scale = BorrowScale::kDataSheet;
  std::string reason;
  Place place;
};

// The lent entries in their order. Throws Error: none fits the description, or a clock is missing.
std::vector<KernelConstants> borrow(const BorrowedKernels& wish, const Device& from,
                                    const Device& to);

// For every kernel of the device, the formats that no entry answers: fp16 by bf16 and the other way
// round (the same tensor-core rate), narrow floats that the device multiplies in bf16 by bf16,
// weight-only formats by one another. Without corrections, which belong to the format they were
// measured in. To be appended behind the device's own.
std::vector<KernelConstants> stand_ins(const Device& device);

}  // namespace sim
