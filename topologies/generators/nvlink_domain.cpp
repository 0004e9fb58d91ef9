// One NVLink domain over many compute trays (GB200 NVL72); NICs join several domains.
//
// A node is a compute tray (host with its GPUs). `gpus` GPUs make a domain; its NVLink switches are
// one vertex that never blocks. Trays are counted by `domains` (full ones) or by `nodes`, which
// fill one domain after the other. With one domain the NICs are left out: no route would use them.
#include <algorithm>

#include "topologies/generators.h"
#include "topologies/leaf_spine.h"

namespace sim {
namespace {

struct Trays {
  int gpus_per_tray = 4;
  int per_domain = 1;
  std::int64_t total = 1;
};

Trays read_trays(ClusterParameters& parameters) {
  Trays trays;
  const std::int64_t gpus = parameters.count_or("gpus", 72, {1, kMostDevices});
  trays.gpus_per_tray =
      static_cast<int>(parameters.count_or("gpus_per_node", 4, {1, kMostDevices}));
  if (gpus % trays.gpus_per_tray != 0) {
    parameters.mistake("gpus", "a domain of " + std::to_string(gpus) +
                                   " GPUs cannot be filled with nodes of " +
                                   std::to_string(trays.gpus_per_tray));
  }
  trays.per_domain = static_cast<int>(std::max<std::int64_t>(1, gpus / trays.gpus_per_tray));
  if (parameters.has("nodes") && parameters.has("domains")) {
    parameters.mistake("nodes", "'nodes' and 'domains' both say how large the cluster is",
                       "leave out one of them");
  }
  if (parameters.has("nodes")) {
    trays.total = parameters.count("nodes", {1, kMostDevices});
  } else {
    trays.total = trays.per_domain * parameters.count_or("domains", 1, {1, kMostDevices});
  }
  if (parameters.clean() && trays.total * trays.gpus_per_tray > kMostDevices) {
    parameters.mistake(parameters.has("nodes") ? "nodes" : "domains",
                       "this cluster has " + std::to_string(trays.total * trays.gpus_per_tray) +
                           " GPUs, more than the " + std::to_string(kMostDevices) + " that fit");
  }
  return trays;
}

}  // namespace

Cluster build_nvlink_domain(ClusterParameters& parameters) {
  const Trays trays = read_trays(parameters);
  const std::string device = parameters.text("device");
  const PortFigure nvlink = parameters.port("nvlink");
  const PortFigure nic = parameters.port("nic");
  // A rail's leaf takes the trays of one domain, so that a domain's traffic leaves by its own leaf.
  const LeafSpineParameters network = read_leaf_spine(parameters, trays.per_domain);
  if (!parameters.clean()) return {};

  ClusterBuilder builder(parameters.name());
  builder.add_figure("nvlink", nvlink);
  const auto total = static_cast<int>(trays.total);
  for (int tray = 0; tray < total; ++tray) {
    builder.add_node("node" + std::to_string(tray), device, trays.gpus_per_tray);
  }
  const int domains = (total + trays.per_domain - 1) / trays.per_domain;
  std::vector<FabricPort> ports;
  for (int domain = 0; domain < domains; ++domain) {
    const VertexId hub = builder.add_switch("domain" + std::to_string(domain) + "/nvswitch");
    const int end = std::min(total, (domain + 1) * trays.per_domain);
    for (int tray = domain * trays.per_domain; tray < end; ++tray) {
      for (int g = 0; g < trays.gpus_per_tray; ++g) {
        const VertexId gpu = builder.gpu(NodeId(tray), g);
        const std::string name = builder.name_of(gpu);
        builder.add_cable(name + "/nvlink", gpu, hub, nvlink, LinkKind::kNvlink);
        ports.push_back({gpu, name + "/nic", tray, g, nic});
      }
    }
  }
  if (domains > 1) {
    builder.add_figure("nic", nic);
    add_leaf_spine(builder, ports, network, parameters);
  }
  if (!parameters.clean()) return {};
  return builder.finish();
}

}  // namespace sim
