// One collective operation alone on an idle cluster: how long it takes, and what it puts on which
// link.
//
// Every run has its own clock, network and task graph, so an answer depends on its operation only
// and never on what was asked before. What is dear to build, the route tables, is kept: one
// LoneNetwork serves a sweep of thousands of operations on its cluster.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "models/device.h"
#include "sim/core/task_graph.h"
#include "sim/policies/collectives/cluster_network.h"
#include "sim/policies/collectives/exchange.h"
#include "sim/policies/collectives/ports_network.h"
#include "topologies/cluster.h"
#include "topologies/routes.h"

namespace sim {

struct LoneOperation {
  std::vector<DeviceId> devices;   // of rank 0, 1, ...; each device once
  std::vector<Duration> arrivals;  // when each rank reaches the operation; empty: all at zero
  int communication_sms = 0;       // held by every rank while it takes part
  // Fills the body; every device-to-device leg goes to the sink with its payload.
  std::function<void(ClusterNetwork&, const TrafficSink&, CollectiveBody&)> make_body;
  // In its place: fills a body at port granularity (sim/policies/collectives/ports_body.h).
  std::function<void(PortNetwork&, CollectiveBody&)> make_port_body;
};

// Why the rank that ends last ended when it did; adds up to the time until its end.
struct LoneCauses {
  Duration arrival{};     // until the rank that everything waited for reached the operation
  Duration startup{};     // serial start, and floors of the algorithm
  Duration network{};     // its own bytes with every link and copy engine to themselves
  Duration congestion{};  // what sharing them with the other ranks adds
};

struct LoneResult {
  std::vector<Duration> begin;  // per rank: when it reached the operation
  std::vector<Duration> end;    // per rank: when all that it sends and receives was done
  Duration time{};              // from zero to the last end
  double mean_s = 0;            // mean over ranks of end - begin
  LoneCauses causes;
  std::vector<double> link_bytes;  // payload per link of the cluster
  // The link, or at port granularity the cut, whose payload takes longest at line rate, and how
  // long that is. Empty: none is used.
  std::string busiest_link;
  double busiest_link_bytes = 0;
  double busiest_link_s = 0;
  // No network can be faster: the longest time that any one resource (link, HBM, copying SMs) needs
  // for what the operation puts on it, efficiencies included.
  double least_network_s = 0;
  std::uint64_t transfers = 0;
  std::uint64_t level_changes = 0;  // how often the network's rates changed
};

class LoneNetwork {
 public:
  // `types`: the device type of every device of the cluster, in order. Keeps references.
  LoneNetwork(const Cluster& cluster, std::vector<const Device*> types);

  // Throws Error when a rank asks for more SMs than its device has, when two devices cannot reach
  // each other, when a transfer never ends (a link without capacity), or when the cluster has no
  // levels and port granularity is asked for.
  LoneResult run(const LoneOperation& operation);

  const Cluster& cluster() const { return cluster_; }
  const Device& type_of(DeviceId device) const { return *types_[device.index()]; }

 private:
  const PortLevels& port_levels();

  const Cluster& cluster_;
  std::optional<PortLevels> levels_;  // when first asked for
  std::vector<const Device*> types_;
  std::vector<Bandwidth> memory_bandwidths_;
  Routes routes_;
};

// Ranks spread evenly: the first `ranks / nodes` GPUs of each of the first `nodes` nodes. Throws
// Error when the cluster has fewer, or when the ranks do not divide over the nodes.
std::vector<DeviceId> spread_ranks(const Cluster& cluster, int nodes, int ranks);

// 0, 1, ... in the order in which the devices' nodes appear.
std::vector<int> nodes_of_ranks(const Cluster& cluster, std::span<const DeviceId> devices);

}  // namespace sim
