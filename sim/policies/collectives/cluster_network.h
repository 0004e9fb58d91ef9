// A cluster's links as fluid resources, and paths through it as what a transfer uses.
//
// Beside the links every device has two resources of its own: `memory` (HBM bytes per second, for
// copies that never leave the device) and `copy` (nanoseconds of communication-SM time per second).
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sim/core/fluid_network.h"
#include "topologies/cluster.h"
#include "topologies/routes.h"

namespace sim {

// What of a line rate payload reaches, per kind of link (1: all of it).
struct WireEfficiency {
  double nic = 1;  // NICs and the fabric behind them
  double nvlink = 1;
  double pcie = 1;  // and the links between host bridges
};

class ClusterNetwork {
 public:
  // Keeps references. `memory_bandwidth`: HBM of every device, in device order.
  ClusterNetwork(const Cluster& cluster, Routes& routes, FluidNetwork& network,
                 std::span<const Bandwidth> memory_bandwidth);

  static constexpr double kCopyUnitsPerSecond = 1e9;

  const Cluster& cluster() const { return cluster_; }
  FluidNetwork& fluid() { return network_; }
  NodeId node_of(DeviceId device) const { return cluster_.devices[device.index()].node; }
  bool same_scale_up(DeviceId a, DeviceId b) const {
    return cluster_.devices[a.index()].scale_up_domain ==
           cluster_.devices[b.index()].scale_up_domain;
  }
  ResourceId link(LinkId id) const { return links_[id.index()]; }
  ResourceId copy(DeviceId device) const { return copies_[device.index()]; }
  ResourceId memory(DeviceId device) const { return memories_[device.index()]; }

  // Appends what `bytes_per_payload` bytes per byte of a transfer use from source to destination
  // (the device's memory, read and written, when they are the same), and returns the latency of the
  // path. Uses of one resource may repeat: merge() afterwards.
  Duration add_path(DeviceId source, DeviceId destination, double bytes_per_payload,
                    const WireEfficiency& efficiency, std::vector<ResourceUse>& uses);
  // The same without NVLink inside a node: what a kernel that only knows its NIC takes. Throws
  // Error when no other way exists.
  Duration add_path_without_nvlink(DeviceId source, DeviceId destination, double bytes_per_payload,
                                   const WireEfficiency& efficiency,
                                   std::vector<ResourceUse>& uses);
  // The device's own ports into and out of the NVLink switch that also joins `other`: the first
  // link of the way there and the last of the way back. Returns the latency from one to the other.
  // REQUIRES: one scale-up domain.
  Duration add_ports(DeviceId device, DeviceId other, double up_per_payload,
                     double down_per_payload, const WireEfficiency& efficiency,
                     std::vector<ResourceUse>& uses);
  static void merge(std::vector<ResourceUse>& uses);

  // Payload bytes per link, without efficiencies; cleared by the caller once per step.
  std::vector<double>& link_payload() { return link_payload_; }
  double busy_seconds(LinkId id) const { return network_.busy_seconds(links_[id.index()]); }
  // From now on paths lead around the link (or no longer so) where a way exists.
  void avoid(LinkId link, bool avoided);
  // What people call it: a link's name, "memory of gpu 3", "copies of gpu 3". Empty: none of these.
  std::string name_of(ResourceId resource) const;
  // Links without capacity that transfers wait for.
  std::vector<LinkId> starving_links() const;
  void count_payload(DeviceId source, DeviceId destination, double bytes);

 private:
  // The cluster without its NVLinks, made when first asked for.
  struct WithoutNvlink {
    std::vector<LinkId> original;  // by its own link number
    Cluster cluster;
    Routes routes;
    explicit WithoutNvlink(const Cluster& whole);
    void avoid(LinkId link, bool avoided);
  };
  void add_links(int paths, double bytes_per_payload, const WireEfficiency& efficiency,
                 std::vector<ResourceUse>& uses) const;

  const Cluster& cluster_;
  Routes& routes_;
  FluidNetwork& network_;
  std::vector<ResourceId> links_;
  std::vector<ResourceId> memories_;
  std::vector<ResourceId> copies_;
  std::vector<double> link_payload_;
  std::unique_ptr<WithoutNvlink> without_nvlink_;
  std::vector<LinkId> avoided_;  // paths lead around these
  Route route_;
};

}  // namespace sim
