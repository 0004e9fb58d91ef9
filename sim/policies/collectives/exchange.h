// Dispatch and combine: how the rows of a routed layer travel to their experts and back.
//
// An algorithm turns (which rows of which source rank go to which slot) into transfers. It says
// what is sent once (per (token, expert), per rank, per node), how a transfer may begin, which SMs
// it holds, and what its buffers weigh.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "models/dtype.h"
#include "sim/core/task_graph.h"
#include "sim/policies/collectives/cluster_network.h"
#include "sim/policies/placement/placement.h"
#include "sim/policies/placement/replica_split.h"
#include "topologies/cluster.h"
#include "traces/routing.h"

namespace sim {

enum class Direction { kDispatch, kCombine };

// How many copies travel, per source rank of the tokens, for one layer and step. Everything is seen
// from the rank that owns the token; combine sends the same copies back.
struct CopyCounts {
  int ranks = 0;
  int nodes = 0;
  std::vector<std::int64_t> rows;  // [source * ranks + rank]: (token, expert) pairs
  std::vector<std::int64_t>
      rank_copies;  // [source * ranks + rank]: tokens with at least one row there
  std::vector<std::int64_t> node_copies;  // [source * nodes + node]
  std::vector<std::int64_t> tokens;       // per source
  bool estimated = false;  // distinct copies are expectations: the routing has counts only
};

// Expected distinct tokens behind `rows` rows of `tokens` tokens with top_k choices each.
std::int64_t expected_distinct(std::int64_t rows, std::int64_t tokens, int top_k);

// `node_of_rank`: 0..nodes-1 per rank. With count routing the distinct copies are T * (1 - (1 -
// c/(T k))^k), rounded, for c rows of T tokens with top-k: draws with replacement, so a slight
// underestimate.
void count_copies(const LayerRouting& routing, const SlotAssignment& assignment,
                  const ExpertPlacement& placement, std::span<const int> node_of_rank, int top_k,
                  CopyCounts& out);

struct Exchange {
  Direction direction = Direction::kDispatch;
  const CopyCounts* copies = nullptr;
  std::span<const DeviceId> ranks;  // device of each rank of the expert-parallel group
  std::span<const int> node_of_rank;
  Bytes bytes_per_copy;  // payload of one token copy: values, scales, header
  int experts = 0;
  int device_sms = 0;
  int communication_sms = 0;
  int tensor_parallel = 1;  // devices [i * tp, (i + 1) * tp) are a tensor-parallel group
};

// Called with every device-to-device leg and its payload: fills the traffic table and the link
// loads.
using TrafficSink = std::function<void(DeviceId source, DeviceId destination, Bytes bytes)>;

// One file each; they speak through exchange_legs.h.
class ExchangeLegs;
using ExchangeSpeaker = void(const Exchange&, const StartupCost&, ExchangeLegs&);
ExchangeSpeaker pairwise_per_row, pairwise_per_row_over_nics, pairwise_per_rank, forward_per_node,
    two_dimensional, gather_per_node_pair, tensor_coordinated, pipe_inside_beside_outside;

struct ExchangeAlgorithm {
  std::string_view name;
  std::string_view help;
  StartRule start;
  int communication_sms;      // held while it runs, unless the scenario says otherwise; 0: none
  std::int64_t header_bytes;  // per dispatched copy
  bool distinct_copies;  // sends a token once per rank or node: needs the choices of each token
  ExchangeSpeaker* speak;
  std::string_view buffers;        // what its communication buffers hold; see buffer_bytes()
  std::string_view built_of = "";  // whose constants start its stages when it has none of its own
  bool tensor_groups = false;      // travels by tensor-parallel groups: Exchange::tensor_parallel
  bool receive_hook = false;  // may hold no SM between issuing and receiving; see sms_of_rows()
  // Its kernels quantise and scatter the rows as they send them, and sum them as they receive them:
  // their measured times hold it, and a step does not run it again (DeepEP's low-latency kernels).
  bool handles_rows = false;

  // Fills the body's start-ups, stages and transfers; body.start is the caller's.
  void make(const Exchange& exchange, const StartupCost& cost, ClusterNetwork& network,
            const TrafficSink& sink, CollectiveBody& body) const;
};

inline constexpr std::array kExchangeAlgorithms{
    ExchangeAlgorithm{
        "nccl",
        "grouped send/receive, one copy per (token, expert), both sides must have come (NCCL)",
        StartRule::kRendezvous, 0, 0, false, &pairwise_per_row, "rows sent and received"},
    ExchangeAlgorithm{
        "deepep-low-latency",
        "direct one-sided writes, one copy per (token, expert) (DeepEP decode kernels)",
        StartRule::kOneSided, 0, 16, false, &pairwise_per_row,
        "two sets of (experts + 1) x tokens messages", "", false, true, true},
    ExchangeAlgorithm{"deepep-normal",
                      "one copy per (token, node) to the same rail, forwarded once per rank over "
                      "NVLink (DeepEP prefill)",
                      StartRule::kOneSided, 20, 0, true, &forward_per_node,
                      "staging of copies sent and received"},
    ExchangeAlgorithm{"deepep-low-latency-no-nvlink",
                      "direct one-sided writes through the NICs, inside a node too (the first "
                      "release of DeepEP's decode kernels)",
                      StartRule::kOneSided, 0, 16, false, &pairwise_per_row_over_nics,
                      "two sets of (experts + 1) x tokens messages", "deepep-low-latency", false,
                      true, true},
    ExchangeAlgorithm{"nvlink-one-sided",
                      "direct one-sided stores, one copy per (token, rank) (NVLink domains)",
                      StartRule::kOneSided, 0, 0, true, &pairwise_per_rank, "tokens of every rank"},
    ExchangeAlgorithm{"nvlink-two-sided",
                      "send and receive kernels that hand over through queues, one copy per "
                      "(token, rank) (NVLink domains)",
                      StartRule::kRendezvous, 0, 0, true, &pairwise_per_rank,
                      "tokens of every rank"},
    ExchangeAlgorithm{"2dh",
                      "copy, exchange inside the node, copy, exchange between equal local ranks; "
                      "per (token, expert) (Tutel)",
                      StartRule::kRendezvous, 0, 0, false, &two_dimensional,
                      "rows sent and received", "nccl"},
    ExchangeAlgorithm{"hierarchical",
                      "gather inside the node, one message per pair of nodes, scatter; per "
                      "(token, expert) (HetuMoE)",
                      StartRule::kRendezvous, 0, 0, false, &gather_per_node_pair,
                      "rows sent and received", "nccl"},
    ExchangeAlgorithm{"hierarchical-tp",
                      "exchange between equal ranks of the tensor-parallel groups, then all-gather "
                      "inside them (DeepSpeed-MoE)",
                      StartRule::kRendezvous, 0, 0, false, &tensor_coordinated,
                      "rows sent and received", "nccl", true},
    ExchangeAlgorithm{"pipe-a2a",
                      "one peer after another, those inside the node beside those outside "
                      "(ScheMoE)",
                      StartRule::kRendezvous, 0, 0, false, &pipe_inside_beside_outside,
                      "rows sent and received", "nccl"},
};

// SMs that a low-latency kernel runs on: its experts spread evenly, ceil(E / ceil(E / SMs))
// (DeepEP, csrc/kernels/internode_ll.cu). Without the receive hook it holds them until all has
// arrived.
int sms_of_rows(int experts, int device_sms);

// Throws Error with the nearest name when there is none.
const ExchangeAlgorithm& find_exchange_algorithm(std::string_view name);

// Bytes of one dispatched or combined token copy: hidden values, scales (fp8: 4 bytes per 128
// values), header.
Bytes bytes_per_copy(const ExchangeAlgorithm& algorithm, Direction direction, std::int64_t hidden,
                     DType dtype);

// Communication buffers of one rank for at most `tokens` tokens per rank (assumed: what the
// algorithm must stage; the low-latency layout is DeepEP's: two sets of one send and `experts`
// receive messages per token).
Bytes buffer_bytes(const ExchangeAlgorithm& algorithm, int experts, int ranks, std::int64_t tokens,
                   int top_k, std::int64_t hidden, std::int64_t slots_per_rank);

// What is used when the cluster has no constants for an algorithm: no start-up, line rate, the
// links' own latency.
const StartupCost& assumed_startup();

// The constants of an algorithm on this cluster: its own; else those of what it is built of,
// labelled assumed; else assumed_startup().
struct ExchangeCosts {
  StartupCost dispatch;
  StartupCost combine;
};
ExchangeCosts exchange_costs(const Cluster& cluster, const ExchangeAlgorithm& algorithm, int nodes,
                             std::string_view library = {});

// The size exchange before a dropless dispatch, a kernel of its own: notify + notify_per_doubling *
// log2(nodes).
Duration size_exchange_time(const StartupCost& cost, int nodes);

// The serial start of the constants' form (topologies/cluster.h) for `ranks` ranks over `nodes`
// nodes.
Duration startup_time(const StartupCost& cost, int ranks, int nodes, int experts, double messages,
                      double tokens, int sms);

}  // namespace sim
