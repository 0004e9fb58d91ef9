// What the tokens of a dispatch or combine benchmark send, counted: the right side of the forms in
// topologies/cluster.h.
//
// A token of `top_k` of `experts` experts touches fewer distinct ranks and nodes than experts, and
// random choices load some ports more than others; both are counted by drawing every token of the
// benchmark once (seeded), because group-limited gating has no closed count.
#pragma once

#include <cstdint>

namespace sim {

enum class TokenSpread {
  kUniform,   // each token draws its experts uniformly: what DeepEP's test scripts do
  kBalanced,  // each token goes to min(ranks, top_k) ranks, all ranks alike (a "perfect router")
};

struct TokenShape {
  std::int64_t tokens = 0;  // per rank
  int top_k = 0;
  int experts = 0;  // in order over the ranks, in blocks whose sizes differ by at most one
  int ranks = 0;
  int nodes = 0;       // of ranks / nodes ranks each, in rank order
  int top_groups = 0;  // group-limited gating: the best nodes by their best score; 0: no limit
  TokenSpread spread = TokenSpread::kUniform;

  auto operator<=>(const TokenShape&) const = default;
};

// Token copies. What a rank's port carries is the larger of what it sends and what it receives, own
// copies left out, in the mean over ranks: tables print the mean rank's time, and a rank is done
// when its own traffic is.
struct TokenTraffic {
  double ranks_per_token = 0;         // distinct ranks, the own one included
  double nodes_per_token = 0;         // distinct nodes, the own one included
  double remote_nodes_per_token = 0;  // without the own one
  struct PerPort {
    double nic = 0;
    double nvlink = 0;  // inside a node
  };
  PerPort per_row;   // one copy per (token, expert)
  PerPort per_rank;  // one copy per (token, rank)
  PerPort per_node;  // one copy per (token, node) to the same rail, forwarded once per rank there
};

// Distinct groups that a token touches when its top_k of `experts` experts are drawn uniformly and
// the experts lie in `groups` equal groups: G (1 - C(E - E/G, k) / C(E, k)).
// REQUIRES: groups divides experts, 0 < top_k <= experts.
double expected_groups(int groups, int experts, int top_k);

// Draws every token once. Throws Error when the shape is not one: nodes that do not divide the
// ranks, more choices than experts, a count of zero, or more than 2^31 choices.
TokenTraffic count_traffic(const TokenShape& shape, std::uint64_t seed);

}  // namespace sim
