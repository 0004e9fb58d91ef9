// How many token copies travel from each source rank to each rank and node.
#include <cmath>

#include "sim/policies/collectives/exchange.h"
#include "sim/policies/collectives/token_slots.h"
#include "traces/distinct_places.h"

namespace sim {

std::int64_t expected_distinct(std::int64_t rows, std::int64_t tokens, int top_k) {
  if (tokens == 0 || rows == 0) return 0;
  const double share = static_cast<double>(rows) / (static_cast<double>(tokens) * top_k);
  const double distinct =
      static_cast<double>(tokens) * (1 - std::pow(1 - std::min(1.0, share), top_k));
  return std::clamp<std::int64_t>(std::llround(distinct), 1, std::min(rows, tokens));
}

void count_copies(const LayerRouting& routing, const SlotAssignment& assignment,
                  const ExpertPlacement& placement, std::span<const int> node_of_rank, int top_k,
                  CopyCounts& out) {
  const std::size_t ranks = node_of_rank.size();
  out.ranks = static_cast<int>(ranks);
  out.nodes = 0;
  for (const int node : node_of_rank) out.nodes = std::max(out.nodes, node + 1);
  const std::size_t nodes = static_cast<std::size_t>(out.nodes);
  out.rows.assign(ranks * ranks, 0);
  out.rank_copies.assign(ranks * ranks, 0);
  out.node_copies.assign(ranks * nodes, 0);
  out.tokens.assign(ranks, 0);
  out.estimated = !routing.per_token;
  const std::size_t slots = static_cast<std::size_t>(assignment.slots);
  std::vector<std::int32_t> rank_of_slot;
  std::vector<std::int32_t> node_of_slot;
  for (std::int32_t slot = 0; slot < assignment.slots; ++slot) {
    rank_of_slot.push_back(placement.rank_of(slot));
    node_of_slot.push_back(node_of_rank[static_cast<std::size_t>(rank_of_slot.back())]);
  }
  for (std::size_t s = 0; s < ranks; ++s) {
    const std::int64_t* of_source = assignment.rows.data() + s * slots;
    std::int64_t* to_ranks = out.rows.data() + s * ranks;
    for (std::size_t slot = 0; slot < slots; ++slot)
      to_ranks[rank_of_slot[slot]] += of_source[slot];
  }
  if (!routing.per_token) {
    for (std::size_t s = 0; s < ranks; ++s) {
      std::int64_t total = 0;
      std::vector<std::int64_t> node_rows(nodes, 0);
      for (std::size_t d = 0; d < ranks; ++d) {
        total += out.rows[s * ranks + d];
        node_rows[static_cast<std::size_t>(node_of_rank[d])] += out.rows[s * ranks + d];
      }
      // Some of a token's choices may have been dropped; where tokens are not known, none were.
      const std::int64_t tokens = !routing.rank_begin.empty()
                                      ? routing.tokens_of(static_cast<int>(s))
                                      : (top_k > 0 ? total / top_k : 0);
      out.tokens[s] = tokens;
      for (std::size_t d = 0; d < ranks; ++d) {
        out.rank_copies[s * ranks + d] = expected_distinct(out.rows[s * ranks + d], tokens, top_k);
      }
      for (std::size_t n = 0; n < nodes; ++n) {
        out.node_copies[s * nodes + n] = expected_distinct(node_rows[n], tokens, top_k);
      }
    }
    return;
  }
  DistinctPlaces distinct_ranks(ranks);
  DistinctPlaces distinct_nodes(nodes);
  for (std::size_t s = 0; s < ranks; ++s) {
    out.tokens[s] = routing.tokens_of(static_cast<int>(s));
    std::int64_t* to_ranks = out.rank_copies.data() + s * ranks;
    std::int64_t* to_nodes = out.node_copies.data() + s * nodes;
    for (std::int64_t t = routing.rank_begin[s]; t < routing.rank_begin[s + 1]; ++t) {
      const std::span<const std::int32_t> token_slots = slots_of_token(routing, assignment, t);
      distinct_ranks.add(token_slots, rank_of_slot.data(), to_ranks);
      distinct_nodes.add(token_slots, node_of_slot.data(), to_nodes);
    }
  }
}

}  // namespace sim
