// Paths through a cluster, computed on demand and never kept as an all-pairs table.
//
// A path is a shortest one by the lengths of switch_graph.h: by hops, with NVLink before PCIe and
// PCIe before the network, so a GPU uses the NIC nearest to it. Among equal ones the choice is a
// hash of (source, destination, path index) and the cluster's hash_seed, as static ECMP does, so it
// depends on nothing else; parallel links between the same
// two vertices count as different paths. GPUs forward nothing for others: the inside of a route is
// switches, bridges and NICs. A route costs O(hops) once a table exists for the neighbours that the
// destination switch hangs on (one table serves all leaves of a leaf-spine network); at most 256
// MiB of tables are kept.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "sim/core/id.h"
#include "sim/core/units.h"
#include "topologies/cluster.h"

namespace sim {

struct Route {
  std::vector<LinkId> links;
  Duration latency{};  // sum over the links
};

class Routes {
 public:
  explicit Routes(const Cluster& cluster);  // keeps a reference
  ~Routes();
  Routes(const Routes&) = delete;
  Routes& operator=(const Routes&) = delete;

  // REQUIRES: source != destination. Throws Error when no path exists. `path` in
  // 0..paths_per_flow-1 selects one of the paths that a transfer is spread over.
  Route route(DeviceId source, DeviceId destination, int path = 0);
  // The same into a route that is used again and again: no allocation per call.
  void route_into(DeviceId source, DeviceId destination, int path, Route& result);
  bool reachable(DeviceId source, DeviceId destination);

  // From now on routes lead around the link (or no longer so) where a way exists, else over it.
  void avoid(LinkId link, bool avoided);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::unique_ptr<Impl> detours_;  // without what is avoided; made when first needed
  std::vector<bool> avoided_;      // by link; empty: none ever was
  std::size_t avoided_count_ = 0;
};

}  // namespace sim
