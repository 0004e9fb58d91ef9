#include "sim/policies/collectives/cluster_network.h"

#include <algorithm>

#include "sim/core/error.h"

namespace sim {
namespace {

Cluster keep_others(const Cluster& whole, std::vector<LinkId>& original) {
  Cluster rest = whole;
  rest.links.clear();
  for (std::size_t i = 0; i < whole.links.size(); ++i) {
    if (whole.links[i].kind == LinkKind::kNvlink) continue;
    rest.links.push_back(whole.links[i]);
    original.emplace_back(static_cast<std::int64_t>(i));
  }
  return rest;
}

}  // namespace

ClusterNetwork::ClusterNetwork(const Cluster& cluster, Routes& routes, FluidNetwork& network,
                               std::span<const Bandwidth> memory_bandwidth)
    : cluster_(cluster), routes_(routes), network_(network) {
  SIM_CHECK(memory_bandwidth.size() == cluster.devices.size(),
            "every device has a memory bandwidth");
  for (const Link& each : cluster.links) links_.push_back(network.add_resource(each.capacity));
  for (const Bandwidth bandwidth : memory_bandwidth) {
    memories_.push_back(network.add_resource(bandwidth));
    copies_.push_back(network.add_resource(Bandwidth(kCopyUnitsPerSecond)));
  }
  link_payload_.assign(cluster.links.size(), 0);
}

Duration ClusterNetwork::add_path(DeviceId source, DeviceId destination, double bytes_per_payload,
                                  const WireEfficiency& efficiency,
                                  std::vector<ResourceUse>& uses) {
  if (source == destination) {
    uses.push_back({memories_[source.index()], 2 * bytes_per_payload});
    return Duration(0);
  }
  const bool inside = same_scale_up(source, destination);
  const int paths = inside ? 1 : std::max(1, cluster_.paths_per_flow);
  Duration latency{0};
  for (int path = 0; path < paths; ++path) {
    routes_.route_into(source, destination, path, route_);
    latency = std::max(latency, route_.latency);
    add_links(paths, bytes_per_payload, efficiency, uses);
  }
  return latency;
}

// The links of route_, one of `paths`.
void ClusterNetwork::add_links(int paths, double bytes_per_payload,
                               const WireEfficiency& efficiency,
                               std::vector<ResourceUse>& uses) const {
  for (const LinkId id : route_.links) {
    const LinkKind kind = cluster_.links[id.index()].kind;
    double share = 1;
    if (kind == LinkKind::kNic || kind == LinkKind::kFabric) share = efficiency.nic;
    if (kind == LinkKind::kNvlink) share = efficiency.nvlink;
    if (kind == LinkKind::kPcie || kind == LinkKind::kHost) share = efficiency.pcie;
    uses.push_back({links_[id.index()], bytes_per_payload / share / paths});
  }
}

ClusterNetwork::WithoutNvlink::WithoutNvlink(const Cluster& whole)
    : cluster(keep_others(whole, original)), routes(cluster) {}

void ClusterNetwork::WithoutNvlink::avoid(LinkId link, bool avoided) {
  const auto at = std::lower_bound(original.begin(), original.end(), link);
  if (at == original.end() || *at != link) return;  // an NVLink
  routes.avoid(LinkId(at - original.begin()), avoided);
}

void ClusterNetwork::avoid(LinkId link, bool avoided) {
  routes_.avoid(link, avoided);
  std::erase(avoided_, link);
  if (avoided) avoided_.push_back(link);
  if (without_nvlink_ != nullptr) without_nvlink_->avoid(link, avoided);
}

Duration ClusterNetwork::add_path_without_nvlink(DeviceId source, DeviceId destination,
                                                 double bytes_per_payload,
                                                 const WireEfficiency& efficiency,
                                                 std::vector<ResourceUse>& uses) {
  if (source == destination)
    return add_path(source, destination, bytes_per_payload, efficiency, uses);
  if (without_nvlink_ == nullptr) {
    without_nvlink_ = std::make_unique<WithoutNvlink>(cluster_);
    for (const LinkId link : avoided_) without_nvlink_->avoid(link, true);
  }
  const int paths = std::max(1, cluster_.paths_per_flow);
  Duration latency{0};
  for (int path = 0; path < paths; ++path) {
    without_nvlink_->routes.route_into(source, destination, path, route_);
    for (LinkId& id : route_.links) id = without_nvlink_->original[id.index()];
    latency = std::max(latency, route_.latency);
    add_links(paths, bytes_per_payload, efficiency, uses);
  }
  return latency;
}

Duration ClusterNetwork::add_ports(DeviceId device, DeviceId other, double up_per_payload,
                                   double down_per_payload, const WireEfficiency& efficiency,
                                   std::vector<ResourceUse>& uses) {
  SIM_CHECK(same_scale_up(device, other), "an NVLink switch joins one scale-up domain");
  routes_.route_into(device, other, 0, route_);
  const LinkId up = route_.links.front();
  const Duration latency = route_.latency;
  routes_.route_into(other, device, 0, route_);
  const LinkId down = route_.links.back();
  uses.push_back({links_[up.index()], up_per_payload / efficiency.nvlink});
  uses.push_back({links_[down.index()], down_per_payload / efficiency.nvlink});
  return latency;
}

void ClusterNetwork::count_payload(DeviceId source, DeviceId destination, double bytes) {
  if (source == destination) return;
  const int paths = same_scale_up(source, destination) ? 1 : std::max(1, cluster_.paths_per_flow);
  for (int path = 0; path < paths; ++path) {
    routes_.route_into(source, destination, path, route_);
    for (const LinkId id : route_.links) link_payload_[id.index()] += bytes / paths;
  }
}

std::string ClusterNetwork::name_of(ResourceId resource) const {
  const auto index_in = [resource](const std::vector<ResourceId>& all) -> std::ptrdiff_t {
    const auto at = std::find(all.begin(), all.end(), resource);
    return at == all.end() ? -1 : at - all.begin();
  };
  if (const std::ptrdiff_t link = index_in(links_); link >= 0)
    return cluster_.links[static_cast<std::size_t>(link)].name;
  if (const std::ptrdiff_t gpu = index_in(memories_); gpu >= 0)
    return "memory of gpu " + std::to_string(gpu);
  if (const std::ptrdiff_t gpu = index_in(copies_); gpu >= 0)
    return "copies of gpu " + std::to_string(gpu);
  return "";
}

std::vector<LinkId> ClusterNetwork::starving_links() const {
  std::vector<LinkId> result;
  for (std::size_t l = 0; l < links_.size(); ++l) {
    if (network_.starves(links_[l])) result.emplace_back(static_cast<std::int64_t>(l));
  }
  return result;
}

void ClusterNetwork::merge(std::vector<ResourceUse>& uses) {
  std::sort(uses.begin(), uses.end(),
            [](const ResourceUse& a, const ResourceUse& b) { return a.resource < b.resource; });
  std::size_t kept = 0;
  for (std::size_t i = 0; i < uses.size(); ++i) {
    if (kept > 0 && uses[kept - 1].resource == uses[i].resource) {
      uses[kept - 1].multiplier += uses[i].multiplier;
    } else {
      uses[kept++] = uses[i];
    }
  }
  uses.resize(kept);
}

}  // namespace sim
