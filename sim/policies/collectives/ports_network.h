// The fluid resources of `fidelity: ports`: those of every link of a GPU, and one per cut, a leaf's
// uplinks (downlinks) together.
#pragma once

#include <string>
#include <vector>

#include "sim/policies/collectives/cluster_network.h"
#include "sim/policies/collectives/ports_levels.h"
#include "sim/policies/collectives/ports_uplinks.h"

namespace sim {

class PortNetwork {
 public:
  // Adds the cuts to the network: capacity the sum of their links. Keeps references.
  PortNetwork(const PortLevels& levels, ClusterNetwork& network, FluidNetwork& fluid);

  const PortLevels& levels() const { return levels_; }
  ClusterNetwork& network() { return network_; }

  struct Cut {
    std::string name;  // "rail0/leaf1/uplinks"
    ResourceId resource;
    Bandwidth capacity;
    double payload = 0;  // bytes; cleared by the caller once per step
  };
  Cut& uplinks(int leaf) { return cuts_[2 * static_cast<std::size_t>(leaf)]; }
  Cut& downlinks(int leaf) { return cuts_[2 * static_cast<std::size_t>(leaf) + 1]; }
  std::vector<Cut>& cuts() { return cuts_; }

  UplinkHash& uplink_hash() { return uplink_hash_; }

  // Latency of a path between two GPUs this far apart; the longest when links of one level differ.
  Duration latency(PortDistance distance) const {
    return latency_[static_cast<std::size_t>(distance)];
  }

 private:
  void find_latencies();

  const PortLevels& levels_;
  ClusterNetwork& network_;
  UplinkHash uplink_hash_;
  std::vector<Cut> cuts_;  // leaf l: up 2l, down 2l + 1
  Duration latency_[4] = {};
};

}  // namespace sim
