// The levels of a cluster: GPU, scale-up domain, leaf, spines. With them the bytes that a GPU sends
// to anywhere use the same few resources, whoever receives them: its scale-up port, its NIC, and
// the uplinks of its leaf together (a *cut*: parallel links between two levels as one).
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "topologies/cluster.h"

namespace sim {

// How far two GPUs are from each other.
enum class PortDistance { kSelf, kDomain, kLeaf, kSpine };

struct PortLevels {
  struct Port {
    LinkId up;  // invalid: the GPU has no such port
    LinkId down;
  };
  struct Leaf {
    std::string name;
    std::vector<LinkId> up;  // to all spines
    std::vector<LinkId> down;
  };
  std::vector<Port> scale_up;  // per device
  std::vector<Port> nic;       // per device
  std::vector<int> domain;     // per device: whom it reaches over its scale-up port; -1: nobody
  std::vector<int> leaf;       // per device: the switch that its NIC hangs on; -1: no NIC
  std::vector<Leaf> leaves;

  PortDistance distance(DeviceId a, DeviceId b) const;
};

// Reads the levels off the links. None: `reason` says which link or switch does not fit (a GPU with
// two NICs, a switch between NIC and leaf, leaves joined by anything but common spines).
std::optional<PortLevels> find_port_levels(const Cluster& cluster, std::string& reason);

}  // namespace sim
