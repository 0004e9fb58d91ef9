// Collectives of equal shares, and sparse ones: operation x algorithm, one small file per
// algorithm.
//
// Constants come from the cluster (CollectiveConstants); where it has none for the algorithm and
// operation, links run at line rate, latencies are those of the links, and the label is `assumed`.
//
// Rings, chains and trees are pipelined in chunks that every rank passes on in one order, so the
// slowest hop sets the pace of all and nobody gets far before the last rank has come. Each is
// therefore one transfer over the links of all its hops, which begins when all its ranks have come
// and ends for all at once.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "sim/core/task_graph.h"
#include "sim/policies/collectives/cluster_network.h"
#include "sim/policies/collectives/exchange.h"

namespace sim {

// Bytes that one rank has and others get (sparse all-gather), or that those have in parts and one
// gets the sum of (sparse reduce-scatter). Positions in CollectiveCall::devices.
struct SparsePiece {
  std::int32_t owner = 0;
  std::vector<std::int32_t> others;
  Bytes bytes;
};

// REQUIRES: at least two devices, each once.
struct CollectiveCall {
  std::string_view operation;
  std::span<const DeviceId> devices;
  // S, as nccl-tests count "size": all-reduce, broadcast: the buffer; all-gather: the gathered
  // buffer; reduce-scatter: the buffer that a rank reduces; send-receive: what a rank sends.
  // Sparse operations have `pieces` instead.
  Bytes bytes;
  int root = 0;  // of a broadcast: position in devices
  std::span<const SparsePiece> pieces = {};
};

class CollectiveBuilder;
using CollectiveSpeaker = void(CollectiveBuilder&);
CollectiveSpeaker ring_collective, ring_broadcast, double_tree_all_reduce, recursive_all_gather,
    recursive_reduce_scatter, recursive_all_reduce, binomial_broadcast, hierarchical_all_gather,
    hierarchical_reduce_scatter, hierarchical_all_reduce, in_switch_collective, send_to_next,
    grouped_chains;

struct CollectiveAlgorithm {
  std::string_view operation;
  std::string_view name;
  std::string_view help;
  CollectiveSpeaker* speak;

  // Fills the body and returns the constants that it used; null: none, so the label is `assumed`.
  // Throws Error when the algorithm cannot serve these ranks.
  const CollectiveConstants* make(const CollectiveCall& call, ClusterNetwork& network,
                                  const TrafficSink& sink, CollectiveBody& body) const;
};

inline constexpr std::array kCollectives{
    CollectiveAlgorithm{"all-reduce", "nccl-ring", "a ring per NIC over all ranks",
                        &ring_collective},
    CollectiveAlgorithm{"all-reduce", "nccl-tree",
                        "two binary trees over the nodes, chains inside them",
                        &double_tree_all_reduce},
    CollectiveAlgorithm{"all-reduce", "nccl-nvls", "summed in the NVLink switch",
                        &in_switch_collective},
    CollectiveAlgorithm{"all-reduce", "recursive",
                        "recursive halving, then doubling (a power of two of ranks)",
                        &recursive_all_reduce},
    CollectiveAlgorithm{"all-reduce", "hierarchical",
                        "reduce-scatter inside the nodes, all-reduce between them, all-gather "
                        "inside",
                        &hierarchical_all_reduce},
    CollectiveAlgorithm{"all-gather", "nccl-ring", "a ring per NIC over all ranks",
                        &ring_collective},
    CollectiveAlgorithm{"all-gather", "nccl-nvls", "copied in the NVLink switch",
                        &in_switch_collective},
    CollectiveAlgorithm{"all-gather", "recursive", "recursive doubling (a power of two of ranks)",
                        &recursive_all_gather},
    CollectiveAlgorithm{"all-gather", "hierarchical",
                        "between equal local ranks, then inside the nodes",
                        &hierarchical_all_gather},
    CollectiveAlgorithm{"reduce-scatter", "nccl-ring", "a ring per NIC over all ranks",
                        &ring_collective},
    CollectiveAlgorithm{"reduce-scatter", "nccl-nvls", "summed in the NVLink switch",
                        &in_switch_collective},
    CollectiveAlgorithm{"reduce-scatter", "recursive",
                        "recursive halving (a power of two of ranks)", &recursive_reduce_scatter},
    CollectiveAlgorithm{"reduce-scatter", "hierarchical",
                        "inside the nodes, then between equal local ranks",
                        &hierarchical_reduce_scatter},
    CollectiveAlgorithm{"broadcast", "nccl-ring", "a chain per NIC from the root over all ranks",
                        &ring_broadcast},
    CollectiveAlgorithm{"broadcast", "recursive", "a binomial tree from the root, step by step",
                        &binomial_broadcast},
    CollectiveAlgorithm{"send-receive", "nccl", "every rank sends to the next one", &send_to_next},
    CollectiveAlgorithm{"sparse-all-gather", "nccl-grouped",
                        "a chain per piece, all in one group (Hecate, FSMoE)", &grouped_chains},
    CollectiveAlgorithm{"sparse-reduce-scatter", "nccl-grouped",
                        "a chain per piece, all in one group (Hecate, FSMoE)", &grouped_chains},
};

// Sparse operations are asked for by their pieces.
constexpr bool takes_pieces(std::string_view operation) { return operation.starts_with("sparse-"); }

// One rank sends, another receives, when both have come: as NCCL's send and receive, with the
// constants of send-receive. Fills the body; its parts are the sender and the receiver. Returns the
// constants that it used; null: none.
const CollectiveConstants* make_send(DeviceId from, DeviceId to, Bytes bytes,
                                     ClusterNetwork& network, const TrafficSink& sink,
                                     CollectiveBody& body);

// Throws Error with the nearest name when there is none.
const CollectiveAlgorithm& find_collective_algorithm(std::string_view operation,
                                                     std::string_view name);

}  // namespace sim
