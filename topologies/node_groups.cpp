#include "topologies/node_groups.h"

#include <algorithm>
#include <utility>

namespace sim {
namespace {

// The keys of one group, or of the whole cluster when `parent` is null.
NodeGroup read_group(ClusterParameters& parameters, const NodeGroupKeys& keys,
                     const NodeGroup* parent) {
  NodeGroup group;
  group.nodes = static_cast<int>(parameters.count_or(keys.nodes, 1, {1, kMostDevices}));
  group.gpus = static_cast<int>(parameters.count_or(
      keys.gpus, parent != nullptr ? parent->gpus : keys.default_gpus, {1, kMostDevices}));
  group.device = parent != nullptr && !parent->device.empty()
                     ? parameters.text_or("device", parent->device)
                     : parameters.text("device");
  for (std::size_t i = 0; i < keys.ports.size(); ++i) {
    std::optional<PortFigure> fallback;
    if (parent != nullptr && parent->ports[i].bandwidth.count() > 0) fallback = parent->ports[i];
    group.ports.push_back(parameters.port(keys.ports[i], fallback));
  }
  return group;
}

// What the groups inherit: only keys that are there.
NodeGroup read_defaults(ClusterParameters& parameters, const NodeGroupKeys& keys) {
  NodeGroup defaults;
  defaults.gpus = keys.default_gpus;
  if (parameters.has(keys.gpus)) {
    defaults.gpus = static_cast<int>(parameters.count(keys.gpus, {1, kMostDevices}));
  }
  if (parameters.has("device")) defaults.device = parameters.text("device");
  for (const std::string& name : keys.ports) {
    defaults.ports.push_back(parameters.has(name) ? parameters.port(name) : PortFigure{});
  }
  return defaults;
}

}  // namespace

std::vector<NodeGroup> read_node_groups(ClusterParameters& parameters, const NodeGroupKeys& keys) {
  std::vector<NodeGroup> groups;
  if (!parameters.has("node_groups")) {
    groups.push_back(read_group(parameters, keys, nullptr));
  } else {
    const NodeGroup defaults = read_defaults(parameters, keys);
    const std::vector<YamlNode> items = parameters.list_or_empty("node_groups");
    if (items.empty()) parameters.mistake("node_groups", "'node_groups' has no group");
    for (const YamlNode& item : items) {
      const std::string what = "node group " + std::to_string(groups.size());
      ClusterParameters group({YamlMap(item, what, parameters.mistakes())}, what);
      groups.push_back(read_group(group, keys, &defaults));
      group.finish();
    }
  }
  if (parameters.clean() && gpus_in(groups) > kMostDevices) {
    parameters.mistake(parameters.has("node_groups") ? "node_groups" : keys.nodes,
                       "this cluster has " + std::to_string(gpus_in(groups)) +
                           " GPUs, more than the " + std::to_string(kMostDevices) + " that fit");
  }
  if (!parameters.clean()) return {};
  return groups;
}

std::int64_t gpus_in(const std::vector<NodeGroup>& groups) {
  std::int64_t sum = 0;
  for (const NodeGroup& group : groups) sum += std::int64_t{group.nodes} * group.gpus;
  return sum;
}

void add_group_figures(ClusterBuilder& builder, const std::vector<NodeGroup>& groups,
                       const std::vector<std::string>& port_names) {
  int first = 0;
  for (const NodeGroup& group : groups) {
    const std::string nodes =
        " of nodes " + std::to_string(first) + "-" + std::to_string(first + group.nodes - 1);
    for (std::size_t i = 0; i < port_names.size(); ++i) {
      builder.add_figure(groups.size() == 1 ? port_names[i] : port_names[i] + nodes,
                         group.ports[i]);
    }
    first += group.nodes;
  }
}

}  // namespace sim
