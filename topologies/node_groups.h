// Nodes of different kinds in one cluster: `node_groups: [{nodes: 2, device: h100-sxm}, ...]`.
//
// A group inherits what it does not say from the keys beside `node_groups`.
#pragma once

#include <string>
#include <vector>

#include "topologies/parameters.h"

namespace sim {

struct NodeGroup {
  int nodes = 1;
  int gpus = 1;  // per node
  std::string device;
  std::vector<PortFigure> ports;  // in the order of the names asked for
};

struct NodeGroupKeys {
  std::string_view nodes;  // "nodes" | "boxes"
  std::string_view gpus;   // "gpus_per_node" | "gpus"
  int default_gpus = 8;
  std::vector<std::string> ports;  // "nvlink", "nic": sections with a bandwidth
};

// One group when there is no `node_groups`. Empty when a mistake was found.
std::vector<NodeGroup> read_node_groups(ClusterParameters& parameters, const NodeGroupKeys& keys);
std::int64_t gpus_in(const std::vector<NodeGroup>& groups);

// "nic" or, when groups differ, "nic of nodes 0-1": one figure each.
void add_group_figures(ClusterBuilder& builder, const std::vector<NodeGroup>& groups,
                       const std::vector<std::string>& port_names);

}  // namespace sim
