// Puts a cluster together in the order that Cluster demands: all nodes first, then everything else.
#pragma once

#include <string>

#include "sim/core/id.h"
#include "topologies/cluster.h"

namespace sim {

// What one direction of a port can do, and why that can be believed.
struct PortFigure {
  Bandwidth bandwidth;
  Duration latency{};             // of each link
  std::string label = "assumed";  // of the bandwidth
  std::string source;
  std::string latency_label = "assumed";
  std::string latency_source;
};

// Most GPUs and links that a cluster may have: above, a number is a typing mistake.
constexpr std::int64_t kMostDevices = std::int64_t{1} << 20;
constexpr std::int64_t kMostLinks = std::int64_t{1} << 23;
constexpr std::int64_t kLargestHashSeed = 1'000'000'000;

class ClusterBuilder {
 public:
  explicit ClusterBuilder(std::string name);

  // A node with `gpus` GPUs called "<name>/gpu0"... REQUIRES: no switch yet.
  NodeId add_node(const std::string& name, const std::string& device_type, int gpus);
  VertexId add_switch(std::string name);
  VertexId gpu(NodeId node, int index) const;
  const std::string& name_of(VertexId vertex) const {
    return cluster_.vertex_names[vertex.index()];
  }

  void add_link(std::string name, VertexId from, VertexId to, const PortFigure& port,
                LinkKind kind);
  // "<name>-up" from `low` to `high`, and "<name>-down" back.
  void add_cable(const std::string& name, VertexId low, VertexId high, const PortFigure& port,
                 LinkKind kind);
  // Two figures: "<what>" the bandwidth, "<what> latency" per link.
  void add_figure(const std::string& what, const PortFigure& port);

  Cluster& cluster() { return cluster_; }
  // Numbers the scale-up domains (GPUs joined by NVLink, PCIe and host links) and hands it over.
  Cluster finish();

 private:
  Cluster cluster_;
};

}  // namespace sim
