// A cluster as a value: nodes, their GPUs, and the one-directional links between everything that
// moves bytes.
//
// Vertices are GPUs (0..devices-1 in rank order, node by node), then switches, NICs and bridges. A
// link joins two vertices in one direction; a cable is two links. Capacities are bytes per second
// of payload-carrying rate.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sim/core/id.h"
#include "sim/core/units.h"

namespace sim {

using VertexId = Id<struct VertexTag>;

enum class LinkKind { kNvlink, kPcie, kNic, kFabric, kHost };
std::string_view to_text(LinkKind kind);

struct ClusterDevice {
  NodeId node;
  int index_in_node = 0;
  std::string device_type;  // name in models/devices, e.g. "h100-sxm"
};

struct ClusterNode {
  std::string name;
  std::vector<DeviceId> devices;
};

struct Link {
  std::string
      name;  // "node0/gpu3/nvlink-up", "rail2/leaf0-spine1": what a user reads in the links table
  VertexId from;
  VertexId to;
  Bandwidth capacity;
  Duration latency{};
  LinkKind kind = LinkKind::kFabric;
};

// Constants of the communication library on this cluster, each with the reason it can be believed.
struct StartupCost {
  Duration base{};                // alpha of any collective
  Duration multi_node{};          // added once when more than one node takes part
  Duration per_doubling{};        // times log2(nodes)
  Duration per_message{};         // times the messages a rank sends
  double nic_efficiency = 1;      // share of a NIC's line rate that payload reaches
  double nvlink_efficiency = 1;   // the same for NVLink
  std::string label = "assumed";  // measured | fitted | published | roofline | assumed
  std::string source;
};

struct AlgorithmConstants {
  std::string algorithm;  // name in the collectives table: "nccl", "deepep-low-latency", ...
  StartupCost dispatch;
  StartupCost combine;
};

enum class Spraying { kPerFlowHash, kIdeal };

struct Cluster {
  std::string name;
  std::string source;  // where its numbers come from
  std::vector<ClusterNode> nodes;
  std::vector<ClusterDevice> devices;
  std::vector<std::string> vertex_names;  // devices first
  std::vector<Link> links;
  Spraying spraying = Spraying::kPerFlowHash;
  int paths_per_flow = 1;  // ECMP paths that one transfer is spread over (queue pairs)
  std::vector<AlgorithmConstants> communication;

  int device_count() const { return static_cast<int>(devices.size()); }
  int node_count() const { return static_cast<int>(nodes.size()); }
};

}  // namespace sim
