// Expert capacity at replay: a routing source whose experts take no more rows than they may.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "traces/gating/overflow.h"
#include "traces/routing.h"

namespace sim {

// The routing of a source without the choices that find their expert full. A dropped choice makes
// no row and no traffic; its token goes on with the choices it has left, perhaps none. With
// kTogether the tokens of `group_ranks` ranks in a row (an expert-parallel group) have one
// capacity; every such group has experts of its own.
//
// Counted steps keep min(count, capacity) per expert whatever the priority. Whose rows those are is
// known only per source rank: with kTogether fill() throws Error where it would have to drop.
class CapacityRouting : public RoutingSource {
 public:
  // Factors applied: one per source rank, or per group of ranks that share a capacity.
  struct Factors {
    double sum = 0;
    double most = 0;
    std::int64_t count = 0;
    void add(std::span<const double> more);
    void add(const Factors& more);
    double mean() const { return count > 0 ? sum / static_cast<double>(count) : 0; }
  };
  // Choices that the last fill() of the layer dropped.
  virtual std::int64_t dropped(int layer) const = 0;
  virtual Factors factors(int layer) const = 0;  // of that fill
};

// `gate_weights`: where `inner` writes those of the choices of each fill(); kScore needs them.
// REQUIRES: the source's ranks are a multiple of group_ranks.
std::unique_ptr<CapacityRouting> with_capacity(
    std::unique_ptr<RoutingSource> inner, const CapacityRule& rule, int top_k, int group_ranks,
    std::shared_ptr<const std::vector<float>> gate_weights = nullptr);

}  // namespace sim
