// The smallest cluster with everything in it: nodes of GPUs on NVLink, a NIC per GPU, a leaf per
// rail, spines.
#pragma once

#include <string>
#include <vector>

#include "topologies/cluster_builder.h"

namespace sim::testing {

inline PortFigure port_of(double bytes_per_second, Duration latency) {
  PortFigure port;
  port.bandwidth = Bandwidth(bytes_per_second);
  port.latency = latency;
  return port;
}

struct RailPorts {
  PortFigure nvlink = port_of(100e9, Duration(100'000));  // 100 ns a link
  PortFigure nic = port_of(10e9, Duration(1'000'000));    // 1 us
  PortFigure fabric = port_of(20e9, Duration(500'000));   // 0.5 us
  int spines = 1;
};

// GPU g of every node hangs on leaf g; leaves hang on every spine. So a path takes
//   inside a node: nvlink-up, nvlink-down; same rail: nic-up, nic-down;
//   else: nic-up, leaf-spine-up, leaf-spine-down, nic-down.
inline Cluster rail_cluster(int nodes, int gpus, const RailPorts& ports = {}) {
  ClusterBuilder builder("rails");
  for (int n = 0; n < nodes; ++n) builder.add_node("n" + std::to_string(n), "tiny", gpus);
  std::vector<VertexId> leaves;
  for (int n = 0; n < nodes; ++n) {
    const VertexId nvswitch = builder.add_switch("n" + std::to_string(n) + "/nvswitch");
    for (int g = 0; g < gpus; ++g) {
      const VertexId gpu = builder.gpu(NodeId(n), g);
      builder.add_cable(builder.name_of(gpu) + "/nvlink", gpu, nvswitch, ports.nvlink,
                        LinkKind::kNvlink);
    }
  }
  for (int g = 0; g < gpus; ++g) leaves.push_back(builder.add_switch("leaf" + std::to_string(g)));
  for (int n = 0; n < nodes; ++n) {
    for (int g = 0; g < gpus; ++g) {
      const VertexId gpu = builder.gpu(NodeId(n), g);
      builder.add_cable(builder.name_of(gpu) + "/nic", gpu, leaves[static_cast<std::size_t>(g)],
                        ports.nic, LinkKind::kNic);
    }
  }
  for (int s = 0; s < ports.spines; ++s) {
    const VertexId spine = builder.add_switch("spine" + std::to_string(s));
    for (int g = 0; g < gpus; ++g) {
      builder.add_cable("leaf" + std::to_string(g) + "-spine" + std::to_string(s),
                        leaves[static_cast<std::size_t>(g)], spine, ports.fabric,
                        LinkKind::kFabric);
    }
  }
  return builder.finish();
}

}  // namespace sim::testing
