// A network with disturbances and transfers started by hand: for ends that are worked out by hand.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "sim/policies/disturbances/link_disturbances.h"
#include "tests/support/rail_cluster.h"

namespace sim::testing {

inline Time at_us(double us) { return Time(Duration(static_cast<std::int64_t>(us * 1e6))); }

class DisturbedNetwork {
 public:
  explicit DisturbedNetwork(Cluster built, std::uint64_t seed = 1)
      : cluster(std::move(built)),
        seed_(seed),
        network(loop, [this](std::uint64_t tag) { ended_us[tag] = now_us(); }),
        routes(cluster),
        links(cluster, routes, network,
              std::vector<Bandwidth>(cluster.devices.size(), Bandwidth(1e12))) {}

  // The effect on every link whose name begins with `prefix`.
  template <class Effect>
  void disturb(const std::string& prefix, Effect effect) {
    LinkDisturbance disturbance{prefix, {}, std::move(effect)};
    for (std::size_t l = 0; l < cluster.links.size(); ++l) {
      if (cluster.links[l].name.rfind(prefix, 0) == 0)
        disturbance.links.emplace_back(static_cast<std::int64_t>(l));
    }
    list_.push_back(std::move(disturbance));
  }
  // Bytes begin to flow at `us`, without the latency of the path.
  void send(double us, int from, int to, double bytes) {
    const std::uint64_t tag = ended_us.size();
    ended_us.push_back(-1);
    loop.at(at_us(us), [this, from, to, bytes, tag] {
      std::vector<ResourceUse> uses;
      links.add_path(DeviceId(from), DeviceId(to), 1, {}, uses);
      ClusterNetwork::merge(uses);
      network.start(uses, Bytes(static_cast<std::int64_t>(bytes)), tag);
    });
  }
  void run() {
    disturbances = std::make_unique<LinkDisturbances>(list_, loop, links, seed_);
    loop.run();
  }
  double now_us() const { return to_seconds(loop.now()) * 1e6; }

  Cluster cluster;

 private:
  std::uint64_t seed_;
  std::vector<LinkDisturbance> list_;

 public:
  std::vector<double> ended_us;  // by transfer; -1: never
  EventLoop loop;
  FluidNetwork network;
  Routes routes;
  ClusterNetwork links;
  std::unique_ptr<LinkDisturbances> disturbances;
};

}  // namespace sim::testing
