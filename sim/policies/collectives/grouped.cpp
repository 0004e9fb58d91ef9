// Operations of point-to-point parts in one group.
#include <algorithm>
#include <array>
#include <vector>

#include "sim/policies/collectives/collective_builder.h"

namespace sim {

// nccl-tests' sendrecv: rank i sends to rank i+1 while it receives from rank i-1.
void send_to_next(CollectiveBuilder& builder) {
  builder.start(1);
  for (int r = 0; r < builder.ranks(); ++r)
    builder.send(r, (r + 1) % builder.ranks(), builder.bytes());
}

// Hecate's SparseAllGather and SparseReduceScatter: grouped broadcasts and reductions of pieces
// that each have an owner and a set of others (FSMoE's uneven gathers are the case of everyone). A
// piece goes down a chain from its owner, its own node first and every other node once; sums go up
// it.
void grouped_chains(CollectiveBuilder& builder) {
  builder.start(1);
  const bool sums = builder.call().operation == "sparse-reduce-scatter";
  std::vector<int> node_of(static_cast<std::size_t>(builder.ranks()));
  for (std::size_t n = 0; n < builder.nodes().size(); ++n) {
    for (const std::int32_t r : builder.nodes()[n])
      node_of[static_cast<std::size_t>(r)] = static_cast<int>(n);
  }
  for (const SparsePiece& piece : builder.call().pieces) {
    std::vector<std::int32_t> chain = piece.others;
    const int count = static_cast<int>(builder.nodes().size());
    const int home = node_of[static_cast<std::size_t>(piece.owner)];
    const auto away = [&](std::int32_t r) {  // nodes after the owner's, in turn
      return (node_of[static_cast<std::size_t>(r)] - home + count) % count;
    };
    std::stable_sort(chain.begin(), chain.end(),
                     [&](std::int32_t a, std::int32_t b) { return away(a) < away(b); });
    chain.insert(chain.begin(), piece.owner);
    if (sums) std::reverse(chain.begin(), chain.end());
    Duration latency{0};
    for (std::size_t i = 0; i + 1 < chain.size(); ++i)
      latency += builder.hop(chain[i], chain[i + 1]);
    builder.flush(chain, static_cast<double>(piece.bytes.count()), latency);
  }
}

}  // namespace sim
