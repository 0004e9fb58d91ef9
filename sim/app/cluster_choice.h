// A cluster that a command names on its line, and the device types of its GPUs.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "models/device.h"
#include "sim/app/catalog.h"
#include "topologies/cluster.h"

namespace sim {

// `name`: a catalog name, a generator or a YAML file; `assignments`: "key=value" of its parameters,
// as after --set. With `nodes`, a cluster of at least so many nodes: one that has fewer is read
// again with its parameter `nodes` set. Throws Error with every mistake, where the user typed it.
Cluster choose_cluster(const Catalog& catalog, const std::string& name,
                       const std::vector<std::string>& assignments,
                       std::optional<int> nodes = std::nullopt);

// The types of a cluster's devices, read from the catalog once each. Not copyable: of_devices()
// points into it.
class DeviceTypes {
 public:
  DeviceTypes(const Cluster& cluster, const Catalog& catalog);  // throws Error
  DeviceTypes(const DeviceTypes&) = delete;
  DeviceTypes& operator=(const DeviceTypes&) = delete;
  const std::vector<const Device*>& of_devices() const { return of_devices_; }

 private:
  std::map<std::string, Device> types_;
  std::vector<const Device*> of_devices_;
};

}  // namespace sim
