#include "sim/policies/collectives/ring.h"

#include <algorithm>
#include <set>

#include "sim/core/error.h"

namespace sim {
std::string_view ring_body(std::span<const DeviceId> devices, Bytes total,
                           std::string_view operation, ClusterNetwork& network,
                           const TrafficSink& sink, CollectiveBody& body) {
  const std::size_t g = devices.size();
  SIM_CHECK(g > 1, "a ring has at least two ranks");
  std::set<NodeId> nodes;
  for (const DeviceId device : devices) nodes.insert(network.node_of(device));
  const CollectiveConstants* constants =
      find_collective(network.cluster(), "nccl-ring", operation, static_cast<int>(nodes.size()));
  body.start = StartRule::kRendezvous;
  const double bytes = static_cast<double>(total.count());
  double start = 0;
  WireEfficiency efficiency;
  if (constants != nullptr) {
    start =
        to_seconds(constants->base) + to_seconds(constants->per_step) * static_cast<double>(g - 1);
    if (constants->local_copy)
      start += bytes / static_cast<double>(g) / constants->local_copy->count();
    if (constants->ramp > Duration(0)) {
      start += to_seconds(constants->ramp) * bytes /
               (bytes + static_cast<double>(constants->ramp_bytes.count()));
    }
    efficiency = {constants->nic_efficiency, constants->nvlink_efficiency};
  }
  body.startup.assign(g, duration_from_seconds(start));
  const Bytes sent(
      (total.count() * static_cast<std::int64_t>(g - 1) + static_cast<std::int64_t>(g) - 1) /
      static_cast<std::int64_t>(g));
  if (sent.count() == 0)
    return constants != nullptr ? std::string_view(constants->label) : "assumed";
  std::vector<ResourceUse> uses;
  for (std::size_t i = 0; i < g; ++i) {
    const std::size_t j = (i + 1) % g;
    uses.clear();
    Duration latency = network.add_path(devices[i], devices[j], 1, efficiency, uses) *
                       static_cast<std::int64_t>(g - 1);
    if (constants != nullptr) latency = Duration(0);
    ClusterNetwork::merge(uses);
    sink(devices[i], devices[j], sent);
    const std::int32_t from = static_cast<std::int32_t>(i);
    const std::int32_t to = static_cast<std::int32_t>(j);
    body.add({&from, 1}, {&to, 1}, sent, latency, uses);
  }
  return constants != nullptr ? std::string_view(constants->label) : "assumed";
}

}  // namespace sim
