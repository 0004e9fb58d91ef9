// A copy between host and device, or by a copy engine.
//
//   t = start + bytes / link_bandwidth
//
// link_bandwidth belongs to the machine, not to the data sheet of the device: it is a constant of
// the entry, of one direction, with pinned host memory. Source: a start-up and a rate (Hockney,
// Parallel Computing 20(3), 1994). Valid: from bytes to gigabytes. Ignores: pageable memory, both
// directions at once, other devices below the same switch.
#include "models/costs/cost_form.h"

namespace sim {
namespace {

constexpr std::array kParameters = {
    FormParameter{"start", ParameterKind::kDuration, 1e-5, 1e-8, 1e-3, 0},
    FormParameter{"link_bandwidth", ParameterKind::kBandwidth, 25e9, 1e8, 2e12, 25e9},
};
constexpr std::array<std::string_view, 1> kExtents = {"bytes"};

double bytes_of(const Operator& op) {
  return static_cast<double>((op.weight_bytes + op.activation_bytes).count());
}

KernelParts copy_time(const KernelCall& call, const DeviceRates&, std::span<const double> values) {
  KernelParts parts;
  parts.fixed = values[0];
  parts.memory = bytes_of(*call.op) / values[1];
  parts.time = parts.fixed + parts.memory;
  return parts;
}

void copy_extents(const KernelCall& call, std::span<double> out) { out[0] = bytes_of(*call.op); }

}  // namespace

const CostForm kCopyForm = {"copy",
                            KernelFamily::kCopy,
                            "a start-up and bytes over a link",
                            kParameters,
                            copy_time,
                            kExtents,
                            copy_extents,
                            nullptr};

}  // namespace sim
