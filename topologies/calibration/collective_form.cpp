// CollectiveConstants (topologies/cluster.h) in closed form.
#include <algorithm>
#include <cmath>

#include "topologies/calibration/fit_form.h"

namespace sim {
namespace {

enum Parameter {
  kBase,
  kPerStep,
  kNvlink,
  kPcie,
  kNic,
  kLocalCopy,
  kRamp,
  kRampBytes,
  kParameters
};

// Bounds are wide enough never to hold a sound fit; an NVLS efficiency may exceed 1. A local copy
// of 1e18 bytes/s is none.
constexpr FormParameter kTable[kParameters] = {
    {"base", ParameterKind::kDuration, 8e-6, 1e-7, 1e-2, 0},
    {"per_step", ParameterKind::kDuration, 1e-6, 1e-9, 1e-3, 0},
    {"nvlink_efficiency", ParameterKind::kShare, 0.7, 0.01, 2, 1},
    {"pcie_efficiency", ParameterKind::kShare, 0.7, 0.01, 1, 1},
    {"nic_efficiency", ParameterKind::kShare, 0.8, 0.01, 1, 1},
    {"local_copy", ParameterKind::kBandwidth, 1e12, 1e9, 1e15, 1e18},
    {"ramp", ParameterKind::kDuration, 2e-5, 1e-8, 1e-1, 0},
    {"ramp_bytes", ParameterKind::kBytes, 4e6, 1e3, 1e9, 1},
};

struct Wire {
  double bytes = 0;   // that a rank sends
  double remote = 0;  // that a node sends to others
  double steps = 0;
};

Wire wire_of(const MeasuredRow& row) {
  const double size = static_cast<double>(row.bytes.count());
  const double g = row.ranks;
  const double ring = size * (g - 1) / g;
  const double several = row.nodes > 1 ? 1 : 0;
  if (row.operation == "all-reduce" && row.algorithm == "nccl-nvls") {
    return {size * (g + 1) / g, 0, 0};
  }
  // Two trees: all nodes but the roots send S/2 up and S/2 down in each; NVLink is no limit.
  if (row.operation == "all-reduce" && row.algorithm == "nccl-tree") {
    const double steps = 2 * (std::ceil(std::log2(row.nodes)) + g / row.nodes - 1);
    return {2 * ring, 2 * size * (1 - 1.0 / row.nodes), steps};
  }
  // A ring leaves a node once, however many ranks the node has.
  if (row.operation == "all-reduce") return {2 * ring, several * 2 * ring, 2 * (g - 1)};
  if (row.operation == "all-to-all") return {ring, size * (g - g / row.nodes) / row.nodes, 1};
  if (row.operation == "send-receive") return {size, several * size, 1};
  return {ring, several * ring, g - 1};  // all-gather, reduce-scatter
}

double seconds(const MeasuredRow& row, const MachineRates& rates, std::span<const double> v) {
  const Wire wire = wire_of(row);
  const double size = static_cast<double>(row.bytes.count());
  double wire_s = 0;
  if (row.ranks > row.nodes) {
    const double local =
        row.operation == "all-to-all" ? size * (1.0 / row.nodes - 1.0 / row.ranks) : wire.bytes;
    if (rates.nvlink > 0) {
      wire_s = local / (rates.nvlink * v[kNvlink]);
    } else if (rates.pcie > 0) {
      wire_s = local / (rates.pcie * v[kPcie]);
    }
  }
  if (wire.remote > 0) {
    const int nics = std::min(rates.nics_per_node, row.ranks / row.nodes);
    wire_s = std::max(wire_s, wire.remote / (rates.nic * nics * v[kNic]));
  }
  return v[kBase] + v[kPerStep] * wire.steps + wire_s + size / row.ranks / v[kLocalCopy] +
         v[kRamp] * size / (size + v[kRampBytes]);
}

}  // namespace

const FitForm kCollectiveForm{"collective", kTable, &seconds};

}  // namespace sim
