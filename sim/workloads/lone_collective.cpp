#include "sim/workloads/lone_collective.h"

#include <algorithm>
#include <string>
#include <utility>

#include "sim/core/error.h"
#include "sim/core/event_loop.h"
#include "sim/core/observer.h"

namespace sim {
namespace {

constexpr CauseId kArrival = 0;
constexpr CauseId kStartup = 1;
constexpr CauseId kNetwork = 2;
constexpr CauseId kCongestion = 3;
constexpr CauseId kLaunch = 4;  // never booked: nothing here has a gap

Duration since_zero(Time t) { return t.time_since_epoch(); }

// Keeps each rank's span.
class RankSpans : public Observer {
 public:
  RankSpans(std::span<const DeviceId> devices, std::size_t device_count, LoneResult& result)
      : rank_of_(device_count, -1), result_(result) {
    for (std::size_t r = 0; r < devices.size(); ++r) {
      SIM_CHECK(rank_of_.at(devices[r].index()) < 0, "a device is one rank");
      rank_of_[devices[r].index()] = static_cast<std::int32_t>(r);
    }
    result_.begin.resize(devices.size());
    result_.end.resize(devices.size());
  }
  void on_part(const PartSpan& part) override {
    const auto rank = static_cast<std::size_t>(rank_of_[part.device.index()]);
    result_.begin[rank] = since_zero(part.entered);
    result_.end[rank] = since_zero(part.end);
  }
  void on_collective(const CollectiveSpan& span) override {
    result_.least_network_s = span.bound_s;
  }

 private:
  std::vector<std::int32_t> rank_of_;
  LoneResult& result_;
};

class BusiestLink {
 public:
  explicit BusiestLink(LoneResult& result) : result_(result) {}
  void offer(const std::string& name, double bytes, Bandwidth capacity) {
    if (!(bytes > 0) || !(capacity.count() > 0)) return;
    const double seconds = bytes / capacity.count();
    if (seconds <= result_.busiest_link_s) return;
    result_.busiest_link = name;
    result_.busiest_link_bytes = bytes;
    result_.busiest_link_s = seconds;
  }

 private:
  LoneResult& result_;
};

}  // namespace

LoneNetwork::LoneNetwork(const Cluster& cluster, std::vector<const Device*> types)
    : cluster_(cluster), types_(std::move(types)), routes_(cluster) {
  SIM_CHECK(types_.size() == cluster.devices.size(), "every device has a type");
  for (const Device* type : types_) memory_bandwidths_.push_back(type->memory_bandwidth);
}

const PortLevels& LoneNetwork::port_levels() {
  if (!levels_) {
    std::string reason;
    levels_ = find_port_levels(cluster_, reason);
    if (!levels_) {
      throw Error("'" + cluster_.name + "' has no levels of ports: " + reason,
                  "use the fidelity 'flows'");
    }
  }
  return *levels_;
}

LoneResult LoneNetwork::run(const LoneOperation& operation) {
  const std::size_t ranks = operation.devices.size();
  SIM_CHECK(ranks > 0, "an operation has ranks");
  SIM_CHECK(operation.arrivals.empty() || operation.arrivals.size() == ranks,
            "an arrival per rank, or none");
  LoneResult result;
  EventLoop loop;
  RankSpans spans(operation.devices, cluster_.devices.size(), result);
  TaskGraph graph(loop, spans, {kNetwork, kCongestion, kStartup, kLaunch});
  ClusterNetwork network(cluster_, routes_, graph.network(), memory_bandwidths_);
  std::optional<PortNetwork> ports;
  if (operation.make_port_body) ports.emplace(port_levels(), network, graph.network());
  std::vector<PartSpec> parts;
  for (std::size_t r = 0; r < ranks; ++r) {
    const DeviceId device = operation.devices[r];
    PartSpec part;
    part.stream = graph.add_stream(device, StreamKind::kCommunication, Duration(0));
    if (operation.communication_sms > 0) {
      const Device& type = type_of(device);
      if (operation.communication_sms > type.sms) {
        throw Error("the operation holds " + std::to_string(operation.communication_sms) +
                    " SMs, and " + type.name + " has " + std::to_string(type.sms));
      }
      part.held = graph.add_held(type.sms);
      part.held_amount = operation.communication_sms;
    }
    if (!operation.arrivals.empty() && operation.arrivals[r] > Duration(0)) {
      TaskSpec arrival;
      arrival.stream = graph.add_stream(device, StreamKind::kHost, Duration(0));
      arrival.duration = operation.arrivals[r];
      arrival.shares[0] = {kArrival, operation.arrivals[r]};
      part.after = {graph.add_task(arrival, {})};
    }
    parts.push_back(std::move(part));
  }
  const TrafficSink sink = [&](DeviceId from, DeviceId to, Bytes bytes) {
    network.count_payload(from, to, static_cast<double>(bytes.count()));
  };
  const std::vector<TaskId> ids = graph.add_collective({}, parts, [&](CollectiveBody& body) {
    if (ports) {
      operation.make_port_body(*ports, body);
    } else {
      operation.make_body(network, sink, body);
    }
  });
  graph.when_done(ids, [&](Time end, const CauseVector& causes) {
    result.time = since_zero(end);
    result.causes = {Duration(causes[kArrival]), Duration(causes[kStartup]),
                     Duration(causes[kNetwork]), Duration(causes[kCongestion])};
  });
  loop.run();
  if (graph.unfinished() > 0) {
    throw Error("the operation never ends: " + graph.describe_stuck([](TaskTag, DeviceId device) {
      return "the part of gpu " + std::to_string(device.value());
    }),
                "a link of the route has no capacity; see `simulate cluster show`");
  }
  Duration sum{0};
  for (std::size_t r = 0; r < ranks; ++r) sum += result.end[r] - result.begin[r];
  result.mean_s = to_seconds(sum) / static_cast<double>(ranks);
  result.link_bytes = network.link_payload();
  BusiestLink busiest(result);
  for (std::size_t l = 0; l < cluster_.links.size(); ++l) {
    busiest.offer(cluster_.links[l].name, result.link_bytes[l], cluster_.links[l].capacity);
  }
  if (ports) {
    for (const PortNetwork::Cut& cut : ports->cuts()) {
      busiest.offer(cut.name, cut.payload, cut.capacity);
    }
  }
  result.transfers = graph.network().transfers_started();
  result.level_changes = graph.network().level_changes();
  return result;
}

std::vector<DeviceId> spread_ranks(const Cluster& cluster, int nodes, int ranks) {
  if (nodes > cluster.node_count()) {
    throw Error("'" + cluster.name + "' has " + std::to_string(cluster.node_count()) +
                " nodes, not " + std::to_string(nodes));
  }
  int devices = 0;
  for (int n = 0; n < nodes; ++n) {
    devices += static_cast<int>(cluster.nodes[static_cast<std::size_t>(n)].devices.size());
  }
  const std::string over =
      std::to_string(nodes) + (nodes == 1 ? " node" : " nodes") + " of '" + cluster.name + "'";
  if (ranks > devices) {
    throw Error(std::to_string(ranks) + " ranks: " + over + " have " + std::to_string(devices) +
                " GPUs");
  }
  if (ranks == devices) {  // nodes may differ in size
    std::vector<DeviceId> all;
    for (int n = 0; n < nodes; ++n) {
      const std::vector<DeviceId>& here = cluster.nodes[static_cast<std::size_t>(n)].devices;
      all.insert(all.end(), here.begin(), here.end());
    }
    return all;
  }
  if (ranks % nodes != 0) {
    throw Error(std::to_string(ranks) + " ranks do not divide over " + over,
                "the same number runs on each node: a multiple of " + std::to_string(nodes));
  }
  const int per_node = ranks / nodes;
  std::vector<DeviceId> result;
  for (int n = 0; n < nodes; ++n) {
    const std::vector<DeviceId>& here = cluster.nodes[static_cast<std::size_t>(n)].devices;
    if (per_node > static_cast<int>(here.size())) {
      throw Error(std::to_string(per_node) + " ranks per node: node " + std::to_string(n) +
                  " of '" + cluster.name + "' has " + std::to_string(here.size()) + " GPUs");
    }
    result.insert(result.end(), here.begin(), here.begin() + per_node);
  }
  return result;
}

std::vector<int> nodes_of_ranks(const Cluster& cluster, std::span<const DeviceId> devices) {
  std::vector<int> number(cluster.nodes.size(), -1);
  std::vector<int> result;
  int next = 0;
  for (const DeviceId device : devices) {
    int& node = number[cluster.devices[device.index()].node.index()];
    if (node < 0) node = next++;
    result.push_back(node);
  }
  return result;
}

}  // namespace sim
