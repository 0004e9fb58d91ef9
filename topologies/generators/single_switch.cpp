// GPUs on one switch, one port each. Every all-to-all has a bound that can be worked out by hand.
#include "topologies/generators.h"

namespace sim {

Cluster build_single_switch(ClusterParameters& parameters) {
  const auto gpus = static_cast<int>(parameters.count("gpus", {1, kMostDevices}));
  const auto gpus_per_node =
      static_cast<int>(parameters.count_or("gpus_per_node", 1, {1, kMostDevices}));
  const std::string device = parameters.text("device");
  const PortFigure port = parameters.port("port");
  if (gpus % gpus_per_node != 0) {
    parameters.mistake("gpus_per_node", std::to_string(gpus) + " GPUs do not fill nodes of " +
                                            std::to_string(gpus_per_node));
  }
  if (!parameters.clean()) return {};

  ClusterBuilder builder(parameters.name());
  builder.add_figure("port", port);
  for (int node = 0; node < gpus / gpus_per_node; ++node) {
    builder.add_node("node" + std::to_string(node), device, gpus_per_node);
  }
  const VertexId hub = builder.add_switch("switch");
  for (int i = 0; i < gpus; ++i) {
    const VertexId gpu(i);
    builder.add_cable(builder.name_of(gpu) + "/port", gpu, hub, port, LinkKind::kNic);
  }
  return builder.finish();
}

}  // namespace sim
