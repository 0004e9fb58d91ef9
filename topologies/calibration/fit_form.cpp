#include "topologies/calibration/fit_form.h"

#include <algorithm>
#include <array>
#include <set>

namespace sim {

MachineRates rates_of(const Cluster& cluster) {
  MachineRates rates;
  rates.gpus_per_node = static_cast<int>(cluster.nodes.front().devices.size());
  std::set<NodeId> domain;
  for (const ClusterDevice& device : cluster.devices) {
    if (device.scale_up_domain == cluster.devices.front().scale_up_domain)
      domain.insert(device.node);
  }
  rates.nodes_per_domain = static_cast<int>(domain.size());
  for (const Link& link : cluster.links) {
    const double rate = link.capacity.count();
    if (link.from == VertexId(0) && link.kind == LinkKind::kNvlink) rates.nvlink = rate;
    if (link.kind == LinkKind::kPcie || link.kind == LinkKind::kHost) {
      rates.pcie = rates.pcie == 0 ? rate : std::min(rates.pcie, rate);
    }
    // A cable is two links; the upward ones of the first node.
    if (link.kind == LinkKind::kNic && link.name.starts_with("node0/") &&
        link.name.ends_with("-up")) {
      rates.nic = rate;
      ++rates.nics_per_node;
    }
  }
  return rates;
}

std::span<const FitForm> fit_forms() {
  static const std::array kForms = {kCollectiveForm, kExchangeForm};
  return kForms;
}

const FitForm* find_fit_form(std::string_view name) {
  for (const FitForm& form : fit_forms()) {
    if (form.name == name) return &form;
  }
  return nullptr;
}

}  // namespace sim
