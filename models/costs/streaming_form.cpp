// Kernels bound by memory: norms, quantisation, permutation, activations, top-k, sampling.
//
//   t = start + bytes / (B memory_share)
//
// bytes: read and written once, as models/operators.h counts them. B: data-sheet memory bandwidth.
// Source: roofline with a start-up; Williams et al., CACM 52(4), 2009.
// Valid: from kilobytes (start-up) to gigabytes. Ignores: what stays in the L2 between kernels,
// irregular gathers, arithmetic (never the bound of these kernels on a GPU).
#include "models/costs/cost_form.h"

namespace sim {
namespace {

constexpr std::array kParameters = {
    FormParameter{"start", ParameterKind::kDuration, 3e-6, 1e-8, 1e-3, 0},
    FormParameter{"memory_share", ParameterKind::kShare, 0.8, 0.01, 1.0, 0.8},
};
constexpr std::array<std::string_view, 1> kExtents = {"bytes"};

double bytes_of(const Operator& op) {
  return static_cast<double>((op.weight_bytes + op.activation_bytes).count());
}

KernelParts streaming_time(const KernelCall& call, const DeviceRates& rates,
                           std::span<const double> values) {
  KernelParts parts;
  parts.fixed = values[0];
  parts.memory = bytes_of(*call.op) / (rates.bytes * values[1]);
  parts.time = parts.fixed + parts.memory;
  return parts;
}

void streaming_extents(const KernelCall& call, std::span<double> out) {
  out[0] = bytes_of(*call.op);
}

}  // namespace

const CostForm kStreamingForm = {"streaming",
                                 KernelFamily::kStreaming,
                                 "a start-up and bytes over bandwidth",
                                 kParameters,
                                 streaming_time,
                                 kExtents,
                                 streaming_extents,
                                 nullptr};

}  // namespace sim
