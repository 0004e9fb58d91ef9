// Published figures of GPUs, buses and CPUs that a topology file only names.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "topologies/cluster_builder.h"

namespace sim {

struct KnownGpu {
  std::uint32_t pci_id;     // NVIDIA's device id
  std::string_view name;    // as people say it
  std::string_view device;  // type in models/devices; empty: none of ours
};
const KnownGpu* find_gpu(std::uint32_t pci_id);  // null: not known

// Bytes per second of one NVLink and direction by compute capability (70, 80, 90, ...); none: not
// known.
std::optional<double> nvlink_rate(int compute_capability);
// Of a device type by its name; 0: not known.
int compute_capability(std::string_view device);
int pcie_generation(std::string_view device);  // 0: not known

// A PCIe link of this transfer rate (8, 16, 32, ...; GT/s) and width; none: no such generation.
struct PciePort {
  std::string name;  // "pcie-gen5-x16"
  PortFigure figure;
};
std::optional<PciePort> pcie_port(double gigatransfers, int width);
PciePort pcie_given(Bandwidth bandwidth);  // by the user

PortFigure nvlink_port(double bytes_per_second, std::string source, std::string label);
PortFigure nic_port(double bytes_per_second, std::string source, std::string label);
// Between the CPUs of a node, by the first one's architecture, vendor, family and model, as NCCL
// assumes it.
PortFigure cpu_port(std::string_view arch, std::string_view vendor, int family, int model);

}  // namespace sim
