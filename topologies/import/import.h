// A machine's own description of itself -> a cluster file of generator `node-graph`.
//
// Formats: NCCL topology XML (NCCL_TOPO_DUMP_FILE, or the skeletons that clouds ship) and the
// matrix of `nvidia-smi topo -m`. What a format does not hold is assumed by a published figure of
// the part, labelled so, or asked for; nothing is made up silently (`notes`).
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sim/core/units.h"
#include "topologies/cluster_builder.h"

namespace sim {

// What the user says beside the file.
struct ImportRequest {
  std::string file;
  std::string device;  // type in models/devices; empty: as the PCI id says
  int nodes = 1;
  std::optional<Bandwidth> nvlink;  // per GPU and direction, all GPUs on one NVSwitch
  bool without_nvlink = false;      // the GPUs have none, or it is not to be used
  std::optional<Bandwidth> nic;     // of every NIC
  std::optional<Bandwidth> pcie;    // of every PCIe link
  std::vector<std::string> known_devices;
};

// One node as parts by name: GPUs "gpu0"..., then `switches` (PCIe, CPUs, NVSwitch, NICs).
struct ImportedNode {
  struct Cable {
    std::string name, from, to;
    LinkKind kind = LinkKind::kPcie;
    std::string port;
  };
  struct Nic {
    std::string name, at, port;
  };
  std::string format;  // "NCCL topology XML"
  std::string device;
  int gpus = 0;
  std::vector<std::string> switches;
  std::vector<Cable> cables;
  std::vector<Nic> nics;
  std::vector<std::pair<std::string, PortFigure>> ports;
  std::vector<std::string> notes;  // what was assumed or left out

  // Keeps the first figure of a name. Returns the name.
  const std::string& add_port(std::string name, const PortFigure& figure);
};

// Throws Error with every mistake and its line.
ImportedNode import_node(const ImportRequest& request);

// The text of the cluster file.
std::string cluster_yaml(const ImportedNode& node, const ImportRequest& request);

// One reader per format; `content` is the whole file.
ImportedNode import_nccl_xml(const ImportRequest& request, const std::string& content);
ImportedNode import_topo_matrix(const ImportRequest& request, const std::string& content);

}  // namespace sim
