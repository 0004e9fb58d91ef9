// Which experts a rank holds when they lie in their order: what the contiguous placement does, and
// what named workloads and metrics of destinations take for granted.
#pragma once

#include <algorithm>

namespace sim {

// The experts [first, first + size) of a rank.
struct ExpertBlock {
  int first = 0;
  int size = 0;
};

// Blocks whose sizes differ by at most one, larger ones first. REQUIRES: 0 <= rank < ranks.
inline ExpertBlock block_of_rank(int experts, int ranks, int rank) {
  const int base = experts / ranks;
  const int larger = experts % ranks;
  return {rank * base + std::min(rank, larger), base + (rank < larger ? 1 : 0)};
}

}  // namespace sim
