#include "sim/policies/collectives/collective_builder.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>

#include "sim/core/error.h"

namespace sim {

CollectiveBuilder::CollectiveBuilder(const CollectiveCall& call, std::string_view algorithm,
                                     ClusterNetwork& network, const TrafficSink& sink,
                                     CollectiveBody& body)
    : call_(call), network_(network), sink_(sink), body_(body) {
  std::map<NodeId, std::size_t> numbers;
  for (std::size_t i = 0; i < call.devices.size(); ++i) {
    const auto [at, fresh] = numbers.emplace(network.node_of(call.devices[i]), nodes_.size());
    if (fresh) nodes_.emplace_back();
    nodes_[at->second].push_back(static_cast<std::int32_t>(i));
  }
  constants_ = find_collective(network.cluster(), algorithm, call.operation,
                               static_cast<int>(nodes_.size()), ranks(), call.bytes);
  if (constants_ != nullptr) {
    efficiency_ = {constants_->nic_efficiency, constants_->nvlink_efficiency,
                   constants_->pcie_efficiency};
  }
  body_.start = StartRule::kRendezvous;
  body_.startup.assign(call.devices.size(), Duration(0));
}

bool CollectiveBuilder::one_scale_up_domain() const {
  return std::all_of(call_.devices.begin(), call_.devices.end(), [&](DeviceId each) {
    return network_.same_scale_up(each, call_.devices.front());
  });
}

void CollectiveBuilder::start(int steps) {
  if (constants_ == nullptr) return;
  const double seconds = serial_seconds(*constants_, steps, call_.bytes, ranks());
  std::fill(body_.startup.begin(), body_.startup.end(), duration_from_seconds(seconds));
}

StageId CollectiveBuilder::stage(StageId before) {
  return body_.add_stage({Duration(0), {before, -1}});
}

Duration CollectiveBuilder::hop(std::int32_t from, std::int32_t to, double per_payload) {
  const Duration latency =
      network_.add_path(device(from), device(to), per_payload, efficiency_, uses_);
  hops_.push_back({from, to, per_payload});
  return constants_ != nullptr ? Duration(0) : latency;
}

Duration CollectiveBuilder::ports(std::int32_t rank, double up, double down) {
  const DeviceId here = device(rank);
  const DeviceId next = device((rank + 1) % ranks());
  const Duration latency = network_.add_ports(here, next, up, down, efficiency_, uses_);
  // Told as legs to the neighbour: the larger of what leaves and what comes.
  hops_.push_back({rank, (rank + 1) % ranks(), std::max(up, down)});
  return constants_ != nullptr ? Duration(0) : latency;
}

void CollectiveBuilder::flush(std::span<const std::int32_t> members, double bytes, Duration latency,
                              StageId stage) {
  add(members, {}, bytes, latency, stage);
}

void CollectiveBuilder::add(std::span<const std::int32_t> senders,
                            std::span<const std::int32_t> receivers, double bytes, Duration latency,
                            StageId stage) {
  const Bytes whole(static_cast<std::int64_t>(std::ceil(bytes)));
  if (whole > Bytes(0) && !uses_.empty()) {
    ClusterNetwork::merge(uses_);
    for (const Hop& hop : hops_) {
      const double sent = static_cast<double>(whole.count()) * hop.per_payload;
      sink_(device(hop.from), device(hop.to), Bytes(static_cast<std::int64_t>(std::ceil(sent))));
    }
    body_.add(senders, receivers, whole, latency, uses_, stage);
  }
  hops_.clear();
  uses_.clear();
}

void CollectiveBuilder::send(std::int32_t from, std::int32_t to, double bytes, StageId stage) {
  const Duration latency = hop(from, to);
  add({&from, 1}, {&to, 1}, bytes, latency, stage);
}

void check_equal_nodes(const CollectiveBuilder& builder, std::string_view algorithm) {
  const std::size_t first = builder.nodes().front().size();
  for (const std::vector<std::int32_t>& node : builder.nodes()) {
    if (node.size() == first) continue;
    throw Error("a " + std::string(algorithm) + " " + std::string(builder.call().operation) +
                    " needs as many ranks on every node, not " + std::to_string(first) + " and " +
                    std::to_string(node.size()),
                "take full nodes, or nccl-ring");
  }
}

}  // namespace sim
