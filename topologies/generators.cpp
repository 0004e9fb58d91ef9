#include "topologies/generators.h"

namespace sim {
namespace {

constexpr ClusterGenerator kGenerators[] = {
    {"single-switch",
     "GPUs with one port each on one switch: for bounds that can be checked by hand",
     build_single_switch, "{gpus: 4, device: h100-sxm, port: {bandwidth: 50 GB/s, latency: 1 us}}"},
    {"hgx", "NVSwitch nodes, one NIC per GPU, rail-optimised leaf-spine network", build_hgx,
     "{nodes: 2, device: h100-sxm, nvlink: {bandwidth: 450 GB/s}, nic: {bandwidth: 50 GB/s}}"},
    {"pcie-box", "boxes without NVLink: PCIe switches, host bridges, NICs shared by GPUs",
     build_pcie_box,
     "{boxes: 2, gpus: 8, gpus_per_pcie_switch: 4, nics: 2, device: h100-sxm, "
     "pcie: {bandwidth: 63 GB/s}, host_link: {bandwidth: 40 GB/s}, nic: {bandwidth: 50 GB/s}}"},
    {"nvlink-domain",
     "one NVLink domain over many compute trays (NVL72); NICs join several domains",
     build_nvlink_domain,
     "{gpus: 8, device: gb200, nvlink: {bandwidth: 900 GB/s}, nic: {bandwidth: 50 GB/s}}"},
    {"torus-2d", "chips on a two-dimensional torus, routed along X, then along Y (TPU pods)",
     build_torus_2d,
     "{columns: 4, rows: 4, device: h100-sxm, link: {bandwidth: 82 GB/s, label: published, "
     "source: 'TPU v3: 656 Gb/s per link and direction, Jouppi et al., CACM 63(7), 2020'}}"},
    {"node-graph",
     "nodes that are alike, written out part by part, on a rail network: what `cluster import` "
     "writes",
     build_node_graph,
     "{nodes: 2, device: h100-sxm, gpus: 1, switches: [nic0], links: [{name: gpu0/pcie, from: "
     "gpu0, "
     "to: nic0, kind: pcie, port: pcie}], nics: [{name: nic0, at: nic0, port: nic}], "
     "pcie: {bandwidth: 63 GB/s}, nic: {bandwidth: 50 GB/s}}"},
    {"custom", "nodes, switches and links written out one by one", build_custom,
     "{nodes: [{name: a, device: h100-sxm, gpus: 1}, {name: b, device: h100-sxm, gpus: 1}], "
     "links: [{from: a/gpu0, to: b/gpu0, bandwidth: 50 GB/s, kind: nic}]}"},
};

}  // namespace

std::span<const ClusterGenerator> cluster_generators() { return kGenerators; }

const ClusterGenerator* find_cluster_generator(std::string_view name) {
  for (const ClusterGenerator& generator : kGenerators) {
    if (generator.name == name) return &generator;
  }
  return nullptr;
}

std::vector<std::string> cluster_generator_names() {
  std::vector<std::string> names;
  for (const ClusterGenerator& generator : kGenerators) names.emplace_back(generator.name);
  return names;
}

}  // namespace sim
