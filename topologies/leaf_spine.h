// The scale-out network: rail-optimised leaves joined by spines.
//
// Nodes form groups of `nodes_per_leaf` in their order. The NICs of one rail and one group share a
// leaf. With more than one leaf, every leaf has an uplink to every spine. The uplinks of a leaf
// carry the largest leaf's NIC rate over `oversubscription`, spread evenly over
// ceil(that / fastest NIC) spines, so the ratio is exact and a link may be slower than a NIC.
// Leaves are alike, also the last one with fewer nodes, as they would be bought.
//
// Spraying `hash`: a flow takes one spine by hash (static ECMP; another `hash_seed` is another draw
// of which flows collide), or several with paths_per_flow.
// `ideal`: one fat link per leaf and direction to one virtual spine, as per-packet spraying that
// never collides (the bound).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "topologies/cluster_builder.h"
#include "topologies/parameters.h"

namespace sim {

struct LeafSpineParameters {
  int nodes_per_leaf = 16;
  double oversubscription = 1;
  Spraying spraying = Spraying::kPerFlowHash;
  int paths_per_flow = 1;
  std::uint64_t hash_seed = 0;
  PortFigure fabric;  // bandwidth is not used: it follows from the NICs
};

// Keys: nodes_per_leaf, oversubscription, spraying, paths_per_flow, hash_seed, fabric {latency,
// label, source}.
LeafSpineParameters read_leaf_spine(ClusterParameters& parameters, int default_nodes_per_leaf);

// One NIC port of the cluster.
struct FabricPort {
  VertexId vertex;   // GPU or NIC that the cable leaves
  std::string name;  // of the cable: "node0/gpu3/nic"
  int node = 0;
  int rail = 0;
  PortFigure port;
};

// Adds leaves, spines, the ports' cables and the uplinks. Ports may come in any order. A
// cluster that would exceed kMostLinks is a mistake and nothing is added.
void add_leaf_spine(ClusterBuilder& builder, const std::vector<FabricPort>& ports,
                    const LeafSpineParameters& parameters, ClusterParameters& mistakes);

}  // namespace sim
