#include "sim/policies/collectives/ports_network.h"

#include <algorithm>

namespace sim {

PortNetwork::PortNetwork(const PortLevels& levels, ClusterNetwork& network, FluidNetwork& fluid)
    : levels_(levels), network_(network), uplink_hash_(network.cluster()) {
  const std::vector<Link>& links = network.cluster().links;
  for (const PortLevels::Leaf& leaf : levels.leaves) {
    const auto add = [&](const std::vector<LinkId>& side, const char* what) {
      double sum = 0;
      for (const LinkId id : side) sum += links[id.index()].capacity.count();
      const Bandwidth capacity(sum);
      cuts_.push_back({leaf.name + what, fluid.add_resource(capacity), capacity});
    };
    add(leaf.up, "/uplinks");
    add(leaf.down, "/downlinks");
  }
  find_latencies();
}

void PortNetwork::find_latencies() {
  const std::vector<Link>& links = network_.cluster().links;
  const auto longest = [&](Duration so_far, LinkId id) {
    return id.valid() ? std::max(so_far, links[id.index()].latency) : so_far;
  };
  Duration scale_up{0}, nic{0}, uplink{0};
  for (std::size_t d = 0; d < levels_.nic.size(); ++d) {
    for (const LinkId id : {levels_.scale_up[d].up, levels_.scale_up[d].down}) {
      scale_up = longest(scale_up, id);
    }
    for (const LinkId id : {levels_.nic[d].up, levels_.nic[d].down}) nic = longest(nic, id);
  }
  for (const PortLevels::Leaf& leaf : levels_.leaves) {
    for (const LinkId id : leaf.up) uplink = longest(uplink, id);
    for (const LinkId id : leaf.down) uplink = longest(uplink, id);
  }
  latency_[static_cast<std::size_t>(PortDistance::kDomain)] = scale_up * 2;
  latency_[static_cast<std::size_t>(PortDistance::kLeaf)] = nic * 2;
  latency_[static_cast<std::size_t>(PortDistance::kSpine)] = nic * 2 + uplink * 2;
}

}  // namespace sim
