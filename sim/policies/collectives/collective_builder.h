// How an algorithm of collective.h says what moves: hops between ranks, gathered into transfers, in
// stages. Ranks are positions in the call's devices.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/policies/collectives/collective.h"

namespace sim {

class CollectiveBuilder {
 public:
  CollectiveBuilder(const CollectiveCall& call, std::string_view algorithm, ClusterNetwork& network,
                    const TrafficSink& sink, CollectiveBody& body);

  const CollectiveCall& call() const { return call_; }
  const CollectiveConstants* constants() const { return constants_; }
  int ranks() const { return static_cast<int>(call_.devices.size()); }
  double bytes() const { return static_cast<double>(call_.bytes.count()); }
  // Ranks by node, nodes and ranks in the order of the call.
  const std::vector<std::vector<std::int32_t>>& nodes() const { return nodes_; }
  bool one_scale_up_domain() const;

  // The serial start of every rank: base + per_step * steps + (S/ranks)/local_copy
  // + ramp * S/(S + ramp_bytes) of the constants; none without them.
  void start(int steps);
  // One more stage after `before` (-1: a first one).
  StageId stage(StageId before);

  // One more hop of the transfer that is being gathered, with `per_payload` bytes per byte of it.
  // Returns the latency of the way; zero when the constants hold it.
  Duration hop(std::int32_t from, std::int32_t to, double per_payload = 1);
  // Bytes per byte of the transfer on a rank's own ports into and out of its NVLink switch. Returns
  // the latency through the switch, as hop() does.
  Duration ports(std::int32_t rank, double up, double down);
  // Ends the transfer: it begins when all of `members` have come, and ends for all of them. Nothing
  // for no bytes. `bytes` is rounded up.
  void flush(std::span<const std::int32_t> members, double bytes, Duration latency,
             StageId stage = 0);
  // A transfer of one hop, which begins when both have come.
  void send(std::int32_t from, std::int32_t to, double bytes, StageId stage = 0);

 private:
  void add(std::span<const std::int32_t> senders, std::span<const std::int32_t> receivers,
           double bytes, Duration latency, StageId stage);
  struct Hop {
    std::int32_t from;
    std::int32_t to;
    double per_payload;
  };
  DeviceId device(std::int32_t rank) const { return call_.devices[static_cast<std::size_t>(rank)]; }

  const CollectiveCall& call_;
  ClusterNetwork& network_;
  const TrafficSink& sink_;
  CollectiveBody& body_;
  const CollectiveConstants* constants_ = nullptr;
  WireEfficiency efficiency_;
  std::vector<std::vector<std::int32_t>> nodes_;
  std::vector<Hop> hops_;
  std::vector<ResourceUse> uses_;
};

// The rings (ring.cpp): `order` passes `sent` bytes round once, as `rounds` rounds of latencies.
void add_ring(CollectiveBuilder& builder, std::span<const std::int32_t> order, double sent,
              int rounds, StageId stage = 0);
// One order over all ranks inside a node; over several nodes one per rank of a node, so that every
// NIC carries one ring out and one in.
std::vector<std::vector<std::int32_t>> ring_orders(
    const std::vector<std::vector<std::int32_t>>& nodes);

// Throws Error when the nodes hold different numbers of ranks.
void check_equal_nodes(const CollectiveBuilder& builder, std::string_view algorithm);

}  // namespace sim
