// The entries of a scenario's `disturbances:` list that are about devices.
//
//   - {device: 17, slowdown: 1.3, from: 10 ms, until: 50 ms}
//   - {device: node3, drift: {per_second: 0.5, most: 1.4}, from: 1 ms}
//   - {device: all, jitter: {distribution: lognormal, sigma: 0.05, kernels: [experts]}}
//   - {device: [5, 7], nic: {capacity: 0.25}, from: 1 ms}          # or nic: failed, reroute: 500
//   us
//   - {device: 9, stops: 5 ms, timeout: 30 s}
#pragma once

#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "sim/input/yaml_reader.h"
#include "sim/policies/disturbances/device_disturbance.h"
#include "topologies/cluster.h"

namespace sim {

// The devices that `device:` names: "all", a number, a list of numbers, or a node's name. Empty
// after a mistake.
std::vector<DeviceId> read_devices(YamlMap& map, const Cluster& cluster, std::string& who);

// The links between these devices and their NICs, both directions; a device without one of its own
// is a mistake.
std::vector<LinkId> nic_links(YamlMap& map, const Cluster& cluster,
                              const std::vector<DeviceId>& devices);

// Slowdown, drift, jitter or stop, whichever of them the entry has. REQUIRES: it has one.
void read_device_effect(YamlMap& map, DeviceDisturbance& disturbance);

}  // namespace sim
