#include "sim/policies/collectives/ports_uplinks.h"

#include <algorithm>
#include <cstddef>

#include "sim/core/error.h"

namespace sim {

UplinkHash::UplinkHash(const Cluster& cluster) : cluster_(cluster), routes_(cluster) {
  const std::int64_t devices = cluster.device_count();
  decides_ = cluster.spraying == Spraying::kPerFlowHash &&
             devices * devices * cluster.paths_per_flow <= kMostPaths;
}

const UplinkHash::SpineLinks& UplinkHash::links_of(DeviceId from, DeviceId to, int path) {
  const auto devices = static_cast<std::size_t>(cluster_.device_count());
  const auto paths = static_cast<std::size_t>(cluster_.paths_per_flow);
  if (known_.empty()) known_.resize(devices * devices * paths);
  SpineLinks& links =
      known_[(from.index() * devices + to.index()) * paths + static_cast<std::size_t>(path)];
  if (links.up.valid()) return links;
  routes_.route_into(from, to, path, route_);
  SIM_CHECK(route_.links.size() == 4, "a path over the spines is NIC, uplink, downlink, NIC");
  links = {route_.links[1], route_.links[2]};
  return links;
}

void UplinkHash::add(DeviceId from, DeviceId to, double bytes) {
  load_.resize(cluster_.links.size(), 0);
  for (int path = 0; path < cluster_.paths_per_flow; ++path) {
    const SpineLinks& links = links_of(from, to, path);
    load_[links.up.index()] += bytes / cluster_.paths_per_flow;
    load_[links.down.index()] += bytes / cluster_.paths_per_flow;
  }
}

double UplinkHash::take_crowding(std::span<const LinkId> links) {
  if (load_.empty()) return 1;
  double sum = 0, most = 0, capacity = 0;
  for (const LinkId id : links) {
    double& load = load_[id.index()];
    const double own = cluster_.links[id.index()].capacity.count();
    sum += load;
    capacity += own;
    if (own > 0) most = std::max(most, load / own);
    load = 0;
  }
  return sum > 0 ? most * capacity / sum : 1;
}

}  // namespace sim
