// All-gather and reduce-scatter of a tensor-parallel group as a ring: what cuts a TP group's tokens
// for dispatch and gathers them after combine.
#pragma once

#include <span>
#include <string_view>

#include "sim/core/task_graph.h"
#include "sim/policies/collectives/cluster_network.h"
#include "sim/policies/collectives/exchange.h"

namespace sim {

// Fills the body for g = devices.size() > 1 ranks that together hold `total` bytes (the gathered
// size): every rank sends total * (g-1)/g to its neighbour. `operation`: "all-gather" or
// "reduce-scatter". The start is base + per_step * (g-1) + total/g/local_copy + ramp * total/(total
// + ramp_bytes) of the cluster's constants for "nccl-ring" (none: link latency). Returns the label
// of the constants.
std::string_view ring_body(std::span<const DeviceId> devices, Bytes total,
                           std::string_view operation, ClusterNetwork& network,
                           const TrafficSink& sink, CollectiveBody& body);

}  // namespace sim
