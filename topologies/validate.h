// Whether a cluster makes sense: what every generator promises and every written-out one must show.
#pragma once

#include "sim/input/yaml_reader.h"
#include "topologies/cluster.h"

namespace sim {

// Records every mistake at `place`: no nodes, ids out of range, rates that are not positive, names
// used twice, GPUs that cannot reach each other (GPUs forward nothing for others). O(vertices +
// links) when one switch is joined with all GPUs in both directions, as in every generated cluster;
// else a search per GPU, ended by the first pair that fails.
void validate(const Cluster& cluster, Mistakes& mistakes, const Place& place = {});

}  // namespace sim
