#include "traces/metrics/destinations.h"

#include <numeric>
#include <vector>

#include "sim/core/error.h"
#include "traces/distinct_places.h"
#include "traces/expert_block.h"

namespace sim {

Destinations destinations(const LayerTokens& tokens, int ranks, int ranks_per_node) {
  SIM_CHECK(ranks >= 1 && ranks_per_node >= 1, "experts lie on ranks, ranks in nodes");
  Destinations result;
  if (tokens.tokens == 0) return result;
  std::vector<std::int32_t> rank_of;
  std::vector<std::int32_t> node_of;
  for (int rank = 0; rank < ranks; ++rank) {
    const auto held = static_cast<std::size_t>(block_of_rank(tokens.experts, ranks, rank).size);
    rank_of.insert(rank_of.end(), held, rank);
    node_of.insert(node_of.end(), held, rank / ranks_per_node);
  }
  std::vector<std::int64_t> to_rank(static_cast<std::size_t>(ranks), 0);
  std::vector<std::int64_t> to_node(static_cast<std::size_t>(ranks), 0);
  DistinctPlaces distinct_ranks(to_rank.size());
  DistinctPlaces distinct_nodes(to_node.size());
  for (std::int64_t t = 0; t < tokens.tokens; ++t) {
    distinct_ranks.add(tokens.of(t), rank_of.data(), to_rank.data());
    distinct_nodes.add(tokens.of(t), node_of.data(), to_node.data());
  }
  const std::int64_t to_ranks = std::accumulate(to_rank.begin(), to_rank.end(), std::int64_t{0});
  const std::int64_t to_nodes = std::accumulate(to_node.begin(), to_node.end(), std::int64_t{0});
  result.ranks_per_token = static_cast<double>(to_ranks) / static_cast<double>(tokens.tokens);
  result.nodes_per_token = static_cast<double>(to_nodes) / static_cast<double>(tokens.tokens);
  return result;
}

}  // namespace sim
