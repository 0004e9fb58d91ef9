// NVSwitch nodes on a rail-optimised leaf-spine network, as DGX and HGX pods are built.
//
// GPU r of every node has one NVLink port to its node's NVSwitch (a vertex that never blocks) and
// one NIC on rail r. Left out: PCIe between a GPU and its own NIC, which is faster than the NIC.
#include "topologies/generators.h"
#include "topologies/leaf_spine.h"
#include "topologies/node_groups.h"

namespace sim {

Cluster build_hgx(ClusterParameters& parameters) {
  const NodeGroupKeys keys{"nodes", "gpus_per_node", 8, {"nvlink", "nic"}};
  if (parameters.has("node_groups") && parameters.has("nodes")) {
    parameters.mistake("nodes", "'nodes' and 'node_groups' both say how many nodes there are",
                       "leave out one of them");
  }
  const std::vector<NodeGroup> groups = read_node_groups(parameters, keys);
  const LeafSpineParameters network = read_leaf_spine(parameters, 16);
  if (!parameters.clean()) return {};

  ClusterBuilder builder(parameters.name());
  add_group_figures(builder, groups, keys.ports);
  std::vector<const NodeGroup*> group_of;
  for (const NodeGroup& group : groups) {
    for (int i = 0; i < group.nodes; ++i) {
      builder.add_node("node" + std::to_string(group_of.size()), group.device, group.gpus);
      group_of.push_back(&group);
    }
  }
  std::vector<FabricPort> ports;
  for (std::size_t n = 0; n < group_of.size(); ++n) {
    const NodeId node(static_cast<std::int64_t>(n));
    const VertexId nvswitch = builder.add_switch("node" + std::to_string(n) + "/nvswitch");
    for (int g = 0; g < group_of[n]->gpus; ++g) {
      const VertexId gpu = builder.gpu(node, g);
      const std::string name = builder.name_of(gpu);
      builder.add_cable(name + "/nvlink", gpu, nvswitch, group_of[n]->ports[0], LinkKind::kNvlink);
      ports.push_back({gpu, name + "/nic", static_cast<int>(n), g, group_of[n]->ports[1]});
    }
  }
  add_leaf_spine(builder, ports, network, parameters);
  if (!parameters.clean()) return {};
  return builder.finish();
}

}  // namespace sim
