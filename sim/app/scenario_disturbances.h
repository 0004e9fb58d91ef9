// The scenario's `disturbances:` list.
//
//   - {link: "node0/gpu3/nic-*", capacity: 0.5, from: 1 ms, until: 2 ms}   # or a rate: 25 GB/s
//   - {link: L, capacities: [{at: 1 ms, capacity: 0}, {at: 3 ms, capacity: 1}], reroute: 500 us}
//   - {link: L, background: {weight: 2, cap: 20 GB/s, on: 1 ms, off: 3 ms}}
//   - {link: L, jitter: {distribution: lognormal, median: 2 us, sigma: 0.5}}
// and entries about devices (scenario_device_disturbances.h).
#pragma once

#include <string>
#include <vector>

#include "sim/input/yaml_reader.h"
#include "sim/policies/disturbances/device_disturbance.h"
#include "sim/policies/disturbances/link_disturbance.h"
#include "topologies/cluster.h"

namespace sim {

struct DisturbanceList {
  std::vector<LinkDisturbance> links;
  std::vector<DeviceDisturbance> devices;
};

// Reads the key of the scenario's root; mistakes go where the root's go, keys without effect to
// `warnings`.
DisturbanceList read_disturbances(YamlMap& root, const Cluster& cluster,
                                  std::vector<std::string>& warnings);

}  // namespace sim
