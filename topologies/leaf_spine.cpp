#include "topologies/leaf_spine.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

namespace sim {
namespace {

struct Leaf {
  VertexId vertex;
  std::string name;
  double rate = 0;  // of its NICs together, bytes/s
};

// Every leaf to every spine; with ideal spraying to one, by one fat link.
void add_uplinks(ClusterBuilder& builder, const std::vector<Leaf>& leaves, double fastest_nic,
                 const LeafSpineParameters& parameters, ClusterParameters& mistakes) {
  double largest = 0;
  for (const Leaf& leaf : leaves) largest = std::max(largest, leaf.rate);
  const double uplinks = largest / parameters.oversubscription;
  const bool ideal = parameters.spraying == Spraying::kIdeal;
  // The small allowance keeps 3 * 0.1 / 0.1 from becoming 4 spines.
  const double spines = ideal ? 1 : std::max(1.0, std::ceil(uplinks / fastest_nic - 1e-9));
  if (spines * static_cast<double>(leaves.size()) * 2 > static_cast<double>(kMostLinks)) {
    mistakes.mistake("oversubscription",
                     "this network has " + std::to_string(leaves.size()) +
                         " leaves and more than " + std::to_string(kMostLinks) +
                         " links between leaves and spines",
                     "raise 'oversubscription' or use 'spraying: ideal'");
    return;
  }
  PortFigure uplink = parameters.fabric;
  uplink.bandwidth = Bandwidth(uplinks / spines);
  for (int s = 0; s < static_cast<int>(spines); ++s) {
    const std::string name = ideal ? "spine" : "spine" + std::to_string(s);
    const VertexId spine = builder.add_switch(name);
    for (const Leaf& leaf : leaves) {
      builder.add_link(leaf.name + "-" + name, leaf.vertex, spine, uplink, LinkKind::kFabric);
      builder.add_link(name + "-" + leaf.name, spine, leaf.vertex, uplink, LinkKind::kFabric);
    }
  }
  uplink.source = "the NICs of a leaf over the oversubscription, spread over the spines";
  builder.add_figure("fabric", uplink);
}

}  // namespace

LeafSpineParameters read_leaf_spine(ClusterParameters& parameters, int default_nodes_per_leaf) {
  static const std::vector<std::string> kSprayings = {"hash", "ideal"};
  LeafSpineParameters result;
  result.nodes_per_leaf = static_cast<int>(
      parameters.count_or("nodes_per_leaf", default_nodes_per_leaf, {1, kMostDevices}));
  result.oversubscription = parameters.number_or("oversubscription", 1, {0.01, 1000});
  const std::string spraying = parameters.choice_or("spraying", "hash", kSprayings);
  result.spraying = spraying == "ideal" ? Spraying::kIdeal : Spraying::kPerFlowHash;
  result.paths_per_flow = static_cast<int>(parameters.count_or("paths_per_flow", 1, {1, 64}));
  if (result.spraying == Spraying::kIdeal && result.paths_per_flow > 1) {
    parameters.mistake("paths_per_flow", "'paths_per_flow' has no effect with 'spraying: ideal'",
                       "leave one of them out");
  }
  result.hash_seed =
      static_cast<std::uint64_t>(parameters.count_or("hash_seed", 0, {0, kLargestHashSeed}));
  if (result.spraying == Spraying::kIdeal && result.hash_seed != 0) {
    parameters.mistake("hash_seed", "'hash_seed' has no effect with 'spraying: ideal'",
                       "leave one of them out");
  }
  result.fabric = parameters.latency_only("fabric");
  return result;
}

void add_leaf_spine(ClusterBuilder& builder, const std::vector<FabricPort>& ports,
                    const LeafSpineParameters& parameters, ClusterParameters& mistakes) {
  builder.cluster().spraying = parameters.spraying;
  builder.cluster().paths_per_flow = parameters.paths_per_flow;
  builder.cluster().hash_seed = parameters.hash_seed;
  std::map<std::pair<int, int>, std::vector<const FabricPort*>> groups;  // by (rail, node group)
  double fastest_nic = 0;
  for (const FabricPort& port : ports) {
    groups[{port.rail, port.node / parameters.nodes_per_leaf}].push_back(&port);
    fastest_nic = std::max(fastest_nic, port.port.bandwidth.count());
  }
  std::vector<Leaf> leaves;
  for (const auto& [key, members] : groups) {
    Leaf leaf;
    leaf.name = "rail" + std::to_string(key.first) + "/leaf" + std::to_string(key.second);
    leaf.vertex = builder.add_switch(leaf.name);
    for (const FabricPort* port : members) {
      builder.add_cable(port->name, port->vertex, leaf.vertex, port->port, LinkKind::kNic);
      leaf.rate += port->port.bandwidth.count();
    }
    leaves.push_back(std::move(leaf));
  }
  if (leaves.size() > 1) add_uplinks(builder, leaves, fastest_nic, parameters, mistakes);
}

}  // namespace sim
