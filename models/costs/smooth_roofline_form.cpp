// Kernels with no law of their own: recurrences (gated delta, selective scan), sparse attention and
// its indexer.
//
//   t = start + ((flops / (P compute_share))^p + (bytes / (B memory_share))^p)^(1/p)
//
// flops and bytes as models/operators.h counts them; P, B: data-sheet flops of the multiplied
// format and memory bandwidth. Source: Williams et al., "Roofline", CACM 52(4), 2009, with a
// start-up and a smooth maximum. Valid: the sizes of the fit; it knows no shape. Ignores: tiles,
// waves, how the work splits over SMs.
#include "models/costs/cost_form.h"
#include "models/costs/smooth_maximum.h"

namespace sim {
namespace {

constexpr std::array kParameters = {
    FormParameter{"start", ParameterKind::kDuration, 1e-5, 1e-7, 1e-3, 0},
    FormParameter{"compute_share", ParameterKind::kShare, 0.5, 0.005, 1.0, 0.5},
    FormParameter{"memory_share", ParameterKind::kShare, 0.8, 0.01, 1.0, 0.8},
    FormParameter{"smoothness", ParameterKind::kNumber, 2.5, 1.0, 8.0, 8.0},
};
constexpr std::array<std::string_view, 2> kExtents = {"flops", "bytes"};

double bytes_of(const Operator& op) {
  return static_cast<double>((op.weight_bytes + op.activation_bytes).count());
}

KernelParts roofline_time(const KernelCall& call, const DeviceRates& rates,
                          std::span<const double> values) {
  KernelParts parts;
  parts.fixed = values[0];
  parts.compute = call.op->flops.count() / (rates.flops * values[1]);
  parts.memory = bytes_of(*call.op) / (rates.bytes * values[2]);
  parts.time = parts.fixed + smooth_maximum(parts.compute, parts.memory, values[3]);
  return parts;
}

void roofline_extents(const KernelCall& call, std::span<double> out) {
  out[0] = call.op->flops.count();
  out[1] = bytes_of(*call.op);
}

}  // namespace

const CostForm kSmoothRooflineForm = {"smooth-roofline",
                                      KernelFamily::kOther,
                                      "flops and bytes that overlap, and a start-up",
                                      kParameters,
                                      roofline_time,
                                      kExtents,
                                      roofline_extents,
                                      nullptr};

}  // namespace sim
