// What a cluster is, in words and a few numbers: the text of `simulate cluster show`.
#pragma once

#include <string>

#include "topologies/cluster.h"

namespace sim {

// Nodes, GPUs, device types, links by kind, bisection, figures and constants with label and source.
// One screen: at most 100 columns, long sources are cut.
std::string describe(const Cluster& cluster);

}  // namespace sim
