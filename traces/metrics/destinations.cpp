#include "traces/metrics/destinations.h"

#include <vector>

#include "sim/core/error.h"

namespace sim {

Destinations destinations(const LayerTokens& tokens, int ranks, int ranks_per_node) {
  SIM_CHECK(ranks >= 1 && ranks_per_node >= 1, "experts lie on ranks, ranks in nodes");
  Destinations result;
  if (tokens.tokens == 0) return result;
  const int per_rank = (tokens.experts + ranks - 1) / ranks;
  std::vector<int> rank_of(static_cast<std::size_t>(tokens.experts));
  for (int e = 0; e < tokens.experts; ++e) rank_of[static_cast<std::size_t>(e)] = e / per_rank;
  std::vector<std::int64_t> rank_seen(static_cast<std::size_t>(ranks), -1);
  std::vector<std::int64_t> node_seen(static_cast<std::size_t>(ranks), -1);
  std::int64_t to_ranks = 0;
  std::int64_t to_nodes = 0;
  for (std::int64_t t = 0; t < tokens.tokens; ++t) {
    for (const std::uint16_t expert : tokens.of(t)) {
      const auto rank = static_cast<std::size_t>(rank_of[expert]);
      const auto node = rank / static_cast<std::size_t>(ranks_per_node);
      to_ranks += rank_seen[rank] != t ? 1 : 0;
      to_nodes += node_seen[node] != t ? 1 : 0;
      rank_seen[rank] = t;
      node_seen[node] = t;
    }
  }
  result.ranks_per_token = static_cast<double>(to_ranks) / static_cast<double>(tokens.tokens);
  result.nodes_per_token = static_cast<double>(to_nodes) / static_cast<double>(tokens.tokens);
  return result;
}

}  // namespace sim
