// How many token copies travel between which ranks of one layer and step, kept sparsely: a source
// has at most tokens * top-k destinations, so memory grows with the tokens and not with ranks^2.
//
// The counts are those of copy_counts (exchange.h), as far as an algorithm needs them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/policies/collectives/exchange.h"

namespace sim {

// What of a token travels once.
enum class PortForm {
  kPerRow,   // each (token, expert)
  kPerRank,  // each (token, rank)
  kPerNode,  // each (token, node) to the same rail there, then each (token, rank)
};

struct SparseCopies {
  struct Entry {
    std::int32_t to;
    std::uint32_t copies;
  };
  std::vector<std::uint32_t> begin;  // sources + 1
  std::vector<Entry> entries;        // of a source, `to` ascending

  std::span<const Entry> of(std::size_t source) const {
    return {entries.data() + begin[source], entries.data() + begin[source + 1]};
  }
};

struct PortCopies {
  // Most pairs of one exchange: 1 GiB of them.
  static constexpr std::size_t kMostPairs = std::size_t{1} << 27;

  PortForm form = PortForm::kPerRow;
  int ranks = 0;
  int nodes = 0;
  SparseCopies to_ranks;               // other ranks
  SparseCopies to_nodes;               // kPerNode: other nodes
  std::vector<std::int64_t> own;       // copies that stay on their rank
  std::vector<std::int64_t> node_sum;  // distinct copies: nodes touched, its own too, over tokens
  std::vector<std::int64_t> tokens;    // per source
  bool estimated = false;  // distinct copies are expectations: the routing has counts only
};

// As count_copies. Throws Error when there are more pairs than kMostPairs.
void count_port_copies(const LayerRouting& routing, const SlotAssignment& assignment,
                       const ExpertPlacement& placement, std::span<const int> node_of_rank,
                       int top_k, PortForm form, PortCopies& out);

// The same out of a rank x rank table.
PortCopies port_copies(const CopyCounts& counts, std::span<const int> node_of_rank, PortForm form);

}  // namespace sim
