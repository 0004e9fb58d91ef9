#include "topologies/cluster_builder.h"

#include <utility>
#include <vector>

#include "sim/core/error.h"

namespace sim {

ClusterBuilder::ClusterBuilder(std::string name) { cluster_.name = std::move(name); }

NodeId ClusterBuilder::add_node(const std::string& name, const std::string& device_type, int gpus) {
  SIM_CHECK(cluster_.vertex_names.size() == cluster_.devices.size(), "GPUs are the first vertices");
  const NodeId id(static_cast<std::int64_t>(cluster_.nodes.size()));
  ClusterNode node{name, {}};
  for (int i = 0; i < gpus; ++i) {
    node.devices.emplace_back(static_cast<std::int64_t>(cluster_.devices.size()));
    cluster_.devices.push_back({id, i, 0, device_type});
    cluster_.vertex_names.push_back(name + "/gpu" + std::to_string(i));
  }
  cluster_.nodes.push_back(std::move(node));
  return id;
}

VertexId ClusterBuilder::add_switch(std::string name) {
  cluster_.vertex_names.push_back(std::move(name));
  return VertexId(static_cast<std::int64_t>(cluster_.vertex_names.size()) - 1);
}

VertexId ClusterBuilder::gpu(NodeId node, int index) const {
  return VertexId(cluster_.nodes[node.index()].devices[static_cast<std::size_t>(index)].value());
}

void ClusterBuilder::add_link(std::string name, VertexId from, VertexId to, const PortFigure& port,
                              LinkKind kind) {
  cluster_.links.push_back({std::move(name), from, to, port.bandwidth, port.latency, kind});
}

void ClusterBuilder::add_cable(const std::string& name, VertexId low, VertexId high,
                               const PortFigure& port, LinkKind kind) {
  add_link(name + "-up", low, high, port, kind);
  add_link(name + "-down", high, low, port, kind);
}

void ClusterBuilder::add_figure(const std::string& what, const PortFigure& port) {
  cluster_.figures.push_back({what, format_bandwidth(port.bandwidth), port.label, port.source});
  cluster_.figures.push_back({what + " latency", format_duration(port.latency) + " per link",
                              port.latency_label, port.latency_source});
}

Cluster ClusterBuilder::finish() {
  const std::size_t vertices = cluster_.vertex_names.size();
  std::vector<std::size_t> parent(vertices);
  for (std::size_t i = 0; i < vertices; ++i) parent[i] = i;
  const auto root = [&parent](std::size_t x) {
    while (parent[x] != x) x = parent[x] = parent[parent[x]];
    return x;
  };
  for (const Link& link : cluster_.links) {
    if (link.kind == LinkKind::kNic || link.kind == LinkKind::kFabric) continue;
    parent[root(link.from.index())] = root(link.to.index());
  }
  std::vector<int> domain(vertices, -1);
  int domains = 0;
  for (std::size_t i = 0; i < cluster_.devices.size(); ++i) {
    int& number = domain[root(i)];
    if (number < 0) number = domains++;
    cluster_.devices[i].scale_up_domain = number;
  }
  return std::move(cluster_);
}

}  // namespace sim
