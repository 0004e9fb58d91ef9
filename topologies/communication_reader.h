// `communication:` and `collectives:` of a cluster file: constants of the communication kernels.
#pragma once

#include "topologies/cluster.h"
#include "topologies/parameters.h"

namespace sim {

void read_communication(ClusterParameters& parameters, Cluster& cluster);

}  // namespace sim
