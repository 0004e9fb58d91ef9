// Boxes without NVLink: GPUs under PCIe switches, PCIe switches under host bridges (CPU sockets)
// joined by a host link, NICs shared by several GPUs.
//
// NICs sit on PCIe switches in turn (or on host bridges with `nics_at: host`), and all NICs of a
// group of boxes share one leaf. A GPU uses the nearest NIC, the nearest ones by hash when several
// are equally near. Left out: the CPU's own share of PCIe and of the host link.
#include <algorithm>

#include "topologies/generators.h"
#include "topologies/leaf_spine.h"
#include "topologies/node_groups.h"

namespace sim {
namespace {

enum Port { kPcie, kHostLink, kNic };  // order of NodeGroupKeys::ports

struct BoxShape {
  int gpus_per_switch = 4;
  int sockets = 2;
  int nics = 1;
  bool nics_at_host = false;
};

BoxShape read_shape(ClusterParameters& parameters) {
  static const std::vector<std::string> kPlaces = {"pcie-switch", "host"};
  BoxShape shape;
  shape.gpus_per_switch =
      static_cast<int>(parameters.count_or("gpus_per_pcie_switch", 4, {1, kMostDevices}));
  shape.sockets = static_cast<int>(parameters.count_or("sockets", 2, {1, 16}));
  shape.nics = static_cast<int>(parameters.count_or("nics", 1, {1, 64}));
  shape.nics_at_host = parameters.choice_or("nics_at", "pcie-switch", kPlaces) == "host";
  return shape;
}

// Host bridges, PCIe switches and NICs of one box, and their links.
void add_box(ClusterBuilder& builder, NodeId node, const NodeGroup& group, const BoxShape& shape,
             std::vector<FabricPort>& ports) {
  const std::string box = "node" + std::to_string(node.value());
  const int switches = (group.gpus + shape.gpus_per_switch - 1) / shape.gpus_per_switch;
  const int sockets = std::min(shape.sockets, switches);
  std::vector<VertexId> hosts, pcie;
  for (int s = 0; s < sockets; ++s) {
    hosts.push_back(builder.add_switch(box + "/host" + std::to_string(s)));
    for (int t = 0; t < s; ++t) {
      const std::string name = box + "/host" + std::to_string(t) + "-host" + std::to_string(s);
      builder.add_cable(name, hosts[static_cast<std::size_t>(t)], hosts.back(),
                        group.ports[kHostLink], LinkKind::kHost);
    }
  }
  for (int s = 0; s < switches; ++s) {
    const std::string name = box + "/pcie" + std::to_string(s);
    pcie.push_back(builder.add_switch(name));
    const auto host = static_cast<std::size_t>(s * sockets / switches);
    builder.add_cable(name + "/pcie", pcie.back(), hosts[host], group.ports[kPcie],
                      LinkKind::kPcie);
  }
  for (int g = 0; g < group.gpus; ++g) {
    const VertexId gpu = builder.gpu(node, g);
    builder.add_cable(builder.name_of(gpu) + "/pcie", gpu,
                      pcie[static_cast<std::size_t>(g / shape.gpus_per_switch)], group.ports[kPcie],
                      LinkKind::kPcie);
  }
  const std::vector<VertexId>& places = shape.nics_at_host ? hosts : pcie;
  for (int n = 0; n < shape.nics; ++n) {
    const std::string name = box + "/nic" + std::to_string(n);
    const VertexId nic = builder.add_switch(name);
    builder.add_cable(name + "/pcie", nic, places[static_cast<std::size_t>(n) % places.size()],
                      group.ports[kPcie], LinkKind::kPcie);
    ports.push_back({nic, name + "/port", node.value(), 0, group.ports[kNic]});
  }
}

}  // namespace

Cluster build_pcie_box(ClusterParameters& parameters) {
  const std::string_view count = parameters.has("nodes") ? "nodes" : "boxes";
  const NodeGroupKeys keys{count, "gpus", 8, {"pcie", "host_link", "nic"}};
  if (parameters.has("nodes") && parameters.has("boxes")) {
    parameters.mistake("boxes", "'nodes' and 'boxes' both say how many boxes there are",
                       "leave out one of them");
  }
  if (parameters.has("node_groups") && parameters.has(count)) {
    parameters.mistake(
        count, "'" + std::string(count) + "' and 'node_groups' both say how many boxes there are",
        "leave out one of them");
  }
  const std::vector<NodeGroup> groups = read_node_groups(parameters, keys);
  const BoxShape shape = read_shape(parameters);
  const LeafSpineParameters network = read_leaf_spine(parameters, 16);
  std::int64_t boxes = 0;
  for (const NodeGroup& group : groups) boxes += group.nodes;
  if (boxes * (shape.nics + shape.sockets * shape.sockets) * 4 > kMostLinks) {
    parameters.mistake("nics", std::to_string(boxes) + " boxes with " + std::to_string(shape.nics) +
                                   " NICs and " + std::to_string(shape.sockets) +
                                   " sockets each are more links than the " +
                                   std::to_string(kMostLinks) + " that fit");
  }
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
    add_box(builder, NodeId(static_cast<std::int64_t>(n)), *group_of[n], shape, ports);
  }
  if (group_of.size() > 1) add_leaf_spine(builder, ports, network, parameters);
  if (!parameters.clean()) return {};
  return builder.finish();
}

}  // namespace sim
