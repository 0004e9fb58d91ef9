// How much a cluster can move between its halves.
#pragma once

#include <optional>

#include "topologies/cluster.h"

namespace sim {

// Most bytes per second that the first half of the GPUs can send to the other half, all at once and
// spread over all paths: the minimum cut of that split, as a maximum flow (Dinic, "Algorithm for
// solution of a problem of maximum flow in a network", 1970) in whole kB/s. None for fewer than two
// GPUs and for more than 100,000 links, where it would take long.
std::optional<Bandwidth> bisection_bandwidth(const Cluster& cluster);

}  // namespace sim
