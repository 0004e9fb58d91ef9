// How much popularity differs between groups of tokens (requests, tags) and moves over time, beyond
// what sampling alone gives.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace sim {

// How often each expert was chosen in each group of tokens of one layer.
struct GroupCounts {
  int experts = 0;
  std::vector<std::int64_t> tokens;  // per group
  std::vector<std::int64_t> counts;  // groups x experts

  std::size_t groups() const { return tokens.size(); }
  std::span<const std::int64_t> of(std::size_t group) const {
    const auto n = static_cast<std::size_t>(experts);
    return {counts.data() + group * n, n};
  }
};

// With s the share of a group's n tokens that choose an expert, p that of all N tokens, G groups,
// and sums over experts and groups:
//   between = sum n (s - p)^2 / (G - 1),  within = sum n s (1 - s) / (N - G)
struct Clustering {
  // between / sum over experts of p (1 - p): 1 when tokens are independent of their group.
  double over_sampling = 0;
  // (between - within) / (between + (n0 - 1) within), n0 = (N - sum n^2 / N) / (G - 1): the share
  // of the variance that lies between groups, whatever their size (one-way analysis of variance).
  double intraclass = 0;
};
// All 0 for fewer than two groups with tokens, or no variance.
Clustering clustering(const GroupCounts& groups);

// Total variation distance of the popularity of the first and the last quarter of the groups, in
// their order, and its mean over 32 seeded orders of the groups: what the groups show without any
// drift. Nothing (0, 0) for fewer than four groups.
struct Drift {
  double distance = 0;
  double by_chance = 0;
};
Drift drift(const GroupCounts& groups, std::uint64_t seed);
// The same between two halves of each group, here its beginning and its end; by_chance swaps the
// two in a random half of the groups. REQUIRES: as many groups and experts in both.
Drift drift_within(const GroupCounts& beginnings, const GroupCounts& ends, std::uint64_t seed);

// Half the sum of |p - q| over the shares of two histograms; 0 when one is empty.
double total_variation(std::span<const std::int64_t> first, std::span<const std::int64_t> second);

}  // namespace sim
