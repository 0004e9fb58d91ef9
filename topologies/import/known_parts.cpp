#include "topologies/import/known_parts.h"

#include <fmt/format.h>

#include <utility>

namespace sim {
namespace {

// NVIDIA device ids as in the public PCI id database (pci-ids.ucw.cz).
constexpr KnownGpu kGpus[] = {
    {0x20b0, "A100-SXM4-40GB", ""},   {0x20b2, "A100-SXM4-80GB", "a100-sxm-80gb"},
    {0x20b5, "A100 80GB PCIe", ""},   {0x2204, "GeForce RTX 3090", "rtx-3090"},
    {0x2230, "RTX A6000", ""},        {0x2324, "H800", "h800-sxm"},
    {0x2329, "H20", "h20"},           {0x2330, "H100 SXM5", "h100-sxm"},
    {0x2335, "H200 SXM", "h200-sxm"}, {0x2684, "GeForce RTX 4090", "rtx-4090"},
    {0x26b9, "L40S", "l40s"},         {0x26ba, "L20", ""},
    {0x2901, "B200", "b200-sxm"},
};

constexpr std::string_view kHopLatency =
    "a PCIe switch or root port takes 100 to 200 ns; not in the file";

PortFigure figure(double bytes_per_second, std::string label, std::string source, Duration latency,
                  std::string_view latency_source) {
  PortFigure port;
  port.bandwidth = Bandwidth(bytes_per_second);
  port.latency = latency;
  port.label = std::move(label);
  port.source = std::move(source);
  port.latency_label = "assumed";
  port.latency_source = latency_source;
  return port;
}

}  // namespace

const KnownGpu* find_gpu(std::uint32_t pci_id) {
  for (const KnownGpu& gpu : kGpus) {
    if (gpu.pci_id == pci_id) return &gpu;
  }
  return nullptr;
}

// NVIDIA data sheets and white papers, per direction: V100 300 GB/s over 6 links both ways, A100
// 600 over 12, H100 900 over 18, B200 1800 over 18; RTX 3090 and A6000 112.5 over 4.
std::optional<double> nvlink_rate(int capability) {
  switch (capability) {
    case 60:
      return 20e9;
    case 70:
    case 80:
    case 90:
      return 25e9;
    case 86:
      return 14.0625e9;
    case 100:
    case 103:
      return 50e9;
    default:
      return std::nullopt;
  }
}

int compute_capability(std::string_view device) {
  constexpr std::pair<std::string_view, int> kFamilies[] = {
      {"v100", 70}, {"a100", 80},  {"a800", 80},  {"h100", 90},   {"h200", 90},  {"h800", 90},
      {"h20", 90},  {"gh200", 90}, {"b200", 100}, {"gb200", 100}, {"b300", 103}, {"gb300", 103}};
  for (const auto& [prefix, capability] : kFamilies) {
    if (device.starts_with(prefix)) return capability;
  }
  return 0;
}

int pcie_generation(std::string_view device) {
  switch (compute_capability(device)) {
    case 70:
      return 3;
    case 80:
      return 4;
    case 90:
    case 100:
    case 103:
      return 5;
    default:
      return 0;
  }
}

std::optional<PciePort> pcie_port(double gigatransfers, int width) {
  constexpr std::pair<double, int> kGenerations[] = {{2.5, 1}, {5, 2},  {8, 3},
                                                     {16, 4},  {32, 5}, {64, 6}};
  for (const auto& [rate, generation] : kGenerations) {
    if (rate != gigatransfers) continue;
    // Generations 1 and 2 send 10 bits a byte, 3 to 5 130 bits per 128, 6 flits of 242 in 256
    // bytes.
    const double efficiency = generation <= 2   ? 0.8
                              : generation <= 5 ? 128.0 / 130.0
                                                : 242.0 / 256.0;
    const std::string source = fmt::format(
        "PCI Express base specification: {:g} GT/s x {} lanes less the line code; packet headers "
        "not taken off",
        rate, width);
    return PciePort{fmt::format("pcie-gen{}-x{}", generation, width),
                    figure(rate * 1e9 * width * efficiency / 8, "published", source,
                           Duration(150'000), kHopLatency)};
  }
  return std::nullopt;
}

PciePort pcie_given(Bandwidth bandwidth) {
  return {"pcie", figure(bandwidth.count(), "assumed", "given as --pcie at the import",
                         Duration(150'000), kHopLatency)};
}

PortFigure nvlink_port(double bytes_per_second, std::string source, std::string label) {
  return figure(bytes_per_second, std::move(label), std::move(source), Duration(450'000),
                "as fitted for hgx-h100 in the catalog; not in the file");
}

PortFigure nic_port(double bytes_per_second, std::string source, std::string label) {
  return figure(bytes_per_second, std::move(label), std::move(source), Duration(1'400'000),
                "as published for the InfiniBand of hgx-h100 in the catalog; not in the "
                "file");
}

// NCCL src/graph/topo.h (v2.28): BDW 6, SKL 10, SRP 22, ERP 40, AMD 16, P9 32, ARM 6 GB/s.
PortFigure cpu_port(std::string_view arch, std::string_view vendor, int family, int model) {
  double rate = 6;
  std::string name = "an older or unknown CPU";
  if (arch == "ppc64") {
    rate = 32;
    name = "POWER9";
  } else if (arch == "arm64") {
    name = "ARM";
  } else if (vendor == "AuthenticAMD") {
    rate = 16;
    name = "AMD";
  } else if (vendor == "GenuineIntel" && family == 6 && model >= 0xcf) {
    rate = 40;
    name = "Intel Emerald Rapids";
  } else if (vendor == "GenuineIntel" && family == 6 && model >= 0x8f) {
    rate = 22;
    name = "Intel Sapphire Rapids";
  } else if (vendor == "GenuineIntel" && family == 6 && model >= 0x55) {
    rate = 10;
    name = "Intel Skylake to Ice Lake";
  }
  return figure(
      rate * 1e9, "assumed",
      "what NCCL assumes between CPUs (src/graph/topo.h) for " + name + "; not in the file",
      Duration(150'000), kHopLatency);
}

}  // namespace sim
