// To how many ranks and nodes a token travels when experts lie in contiguous blocks.
#pragma once

#include <cstdint>

#include "traces/metrics/token_table.h"

namespace sim {

struct Destinations {
  double ranks_per_token = 0;  // distinct ranks that hold one of the token's choices: mean
  double nodes_per_token = 0;  // distinct nodes
};
// Experts lie on ranks as block_of_rank says (the contiguous placement), rank r in node
// r / ranks_per_node. All 0 without tokens. REQUIRES: 1 <= ranks, ranks_per_node.
Destinations destinations(const LayerTokens& tokens, int ranks, int ranks_per_node);

}  // namespace sim
