// A cluster as a value: nodes, their GPUs, and the one-directional links between everything that
// moves bytes.
//
// Vertices are GPUs (0..devices-1 in rank order, node by node), then switches, NICs and bridges. A
// link joins two vertices in one direction; a cable is two links. Capacities are bytes per second
// of payload-carrying rate.
#pragma once

#include <cstdint>
#include <optional>
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
  int index_in_node = 0;    // also its rail
  int scale_up_domain = 0;  // GPUs of one domain reach each other without a NIC or the fabric
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

// Constants of a communication kernel on this cluster. A field left at zero is absent from its
// form.
//
// With T tokens a rank, b bytes a token copy, R ranks, n nodes, `ranks` and `nodes` the distinct
// ranks and nodes that a token goes to, E experts, the compact forms that they were fitted with are
//   start = (base + multi_node [n > 1] + per_doubling log2(n) + per_256_experts E/256
//            + per_message messages) * (R/8)^world_exponent
//           + pipeline_fill (1 - exp(-T / (4 sms)))
//           + serial_per_token T
//   copy  = (T/sms) ((rank_copies ranks + extra) (b/copy_per_sm + per_copy) + per_token), extra =
//           `nodes` when n > 1, else extra_copies; low latency: top-k copies by the
//           ceil(E/ceil(E/SMs)) SMs used
//   wire  = wire_base + max over links of bytes / (capacity * efficiency) * (R/8)^rate_exponent
// and the time is start + max(copy, wire); when wire_base is set it is (start^4 + wire^4)^(1/4).
// They were fitted to whole operations, so the latency of the links is inside `start`: whoever adds
// the start-up must not add the latency of the route again.
struct StartupCost {
  Duration base{};                       // alpha of any collective
  Duration multi_node{};                 // added once when more than one node takes part
  Duration per_doubling{};               // times log2(nodes)
  Duration per_message{};                // times the messages a rank sends
  Duration per_256_experts{};            // times experts / 256
  double world_exponent = 0;             // the start-up grows with (ranks / 8) to this power
  Duration pipeline_fill{};              // F of the chunked kernels
  Duration serial_per_token{};           // work per token of a rank that nothing overlaps
  Duration wire_base{};                  // c of the one-sided NVLink form
  double rate_exponent = 0;              // the wire time grows with (ranks / 8) to this power
  double nic_efficiency = 1;             // share of a NIC's line rate that payload reaches
  double nvlink_efficiency = 1;          // the same for NVLink
  double pcie_efficiency = 1;            // the same for PCIe, in boxes without NVLink
  std::optional<Bandwidth> copy_per_sm;  // payload an SM copies; none: SMs are no limit
  double rank_copies = 1;                // copies an SM makes per rank; 0: none beside one per node
  double extra_copies = 0;         // copies an SM makes of a token beside one per rank, on one node
  Duration per_copy{};             // SM time per copy beside its bytes
  Duration per_token{};            // SM time per token beside its copies
  Duration notify{};               // size exchange of a dropless dispatch, a kernel of its own
  Duration notify_per_doubling{};  // times log2(nodes)
  std::string label = "assumed";   // measured | fitted | published | roofline | assumed
  std::string source;
  // Rows of measurements that a fit saw: "aic-nccl-h100-2.29.2#1-21,43-63"
  // (topologies/calibration).
  std::vector<std::string> fitted_to;
};

// Where constants hold: one kernel often has another form inside one node.
enum class ConstantsScope { kAny, kOneNode, kSeveralNodes };
std::string_view to_text(ConstantsScope scope);

struct AlgorithmConstants {
  std::string algorithm;  // name in the collectives table: "nccl", "deepep-low-latency", ...
  std::string library;    // whose kernels: "deepep", "hybrid-ep"; empty: not said
  ConstantsScope scope = ConstantsScope::kAny;
  StartupCost dispatch;
  StartupCost combine;
};

// One collective of a library, over g ranks with S total bytes:
//   t = base + per_step steps + W/B + (S/g)/local_copy + ramp S/(S + ramp_bytes)
// W = S (g-1)/g, for all-reduce twice that; steps = g-1, all-reduce 2(g-1), all-to-all 1; NVLS
// moves S (g+1)/g and has no steps; send-receive moves S in one step. B = NVLink rate *
// nvlink_efficiency inside one NVLink domain, PCIe rate * pcie_efficiency inside a box without
// NVLink, else the NIC rate of all ranks of a node * nic_efficiency. NCCL changes its protocol with
// the size (LL, LL128, Simple), and the time jumps where it does: entries of one algorithm and
// operation may hold from different `from_bytes_per_rank` (S/g) on.
struct CollectiveConstants {
  std::string algorithm;  // "nccl-ring", "nccl-tree", "nccl-nvls"; "nccl": grouped sends
  std::string operation;  // "all-to-all", "all-gather", "reduce-scatter", "all-reduce", ...
  ConstantsScope scope = ConstantsScope::kAny;
  Bytes from_bytes_per_rank;  // holds from this S/g on, until the next entry's
  int least_ranks = 2;        // NCCL does not use the algorithm for fewer
  Duration base{};
  Duration per_step{};
  double nvlink_efficiency = 1;
  double pcie_efficiency = 1;
  double nic_efficiency = 1;
  std::optional<Bandwidth> local_copy;  // of the own share; none: not a term of the form
  Duration ramp{};
  Bytes ramp_bytes;
  std::string label = "assumed";
  std::string source;
  std::vector<std::string> fitted_to;  // as in StartupCost
};

// What of the form is not wire: base, steps, local copy and ramp, in seconds.
double serial_seconds(const CollectiveConstants& constants, double steps, Bytes bytes, int ranks);

// One number of the cluster and the reason it can be believed: what `simulate cluster show` lists.
struct Figure {
  std::string what;   // "nvlink", "nic", "fabric"
  std::string value;  // "450 GB/s, 450 ns per link"
  std::string label;  // measured | fitted | published | roofline | assumed
  std::string source;
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
  int paths_per_flow = 1;       // ECMP paths that one transfer is spread over (queue pairs)
  std::uint64_t hash_seed = 0;  // of the choice among equal paths
  std::vector<AlgorithmConstants> communication;
  std::vector<CollectiveConstants> collectives;
  std::vector<Figure> figures;

  int device_count() const { return static_cast<int>(devices.size()); }
  int node_count() const { return static_cast<int>(nodes.size()); }
};

// The constants of `algorithm` for an operation over `nodes` nodes: those of that scope, else those
// of any scope, else null. The first entry wins. With a library, its entries are looked at first;
// without one, or when it has none that hold, the first entry of any library is the default.
const AlgorithmConstants* find_constants(const Cluster& cluster, std::string_view algorithm,
                                         int nodes, std::string_view library = {});

// The constants of a collective of `bytes` (S of its form) over `ranks` ranks on `nodes` nodes: of
// the entries that hold at this scope and size, an exact scope before any, then the largest
// from_bytes_per_rank. Null: none holds.
const CollectiveConstants* find_collective(const Cluster& cluster, std::string_view algorithm,
                                           std::string_view operation, int nodes, int ranks,
                                           Bytes bytes);

}  // namespace sim
