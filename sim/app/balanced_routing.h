// A perfectly balanced routing that stays as close to a given one as it can: what a run without
// imbalance is compared with.
//
// Choices of experts that have too many rows move to experts that have too few, within the node
// where that is possible, spread evenly over the expert's tokens; nothing else changes. So rows,
// tokens and, nearly, the nodes a token goes to stay as they were, and a routing that is balanced
// already is left alone. Every rank of an expert-parallel group gets as many rows as another: an
// expert's share goes with its copies, a copy's with one over the filled slots of its rank.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sim/policies/placement/placement.h"
#include "sim/workloads/parallel.h"
#include "traces/routing.h"

namespace sim {

class BalancedRouting : public RoutingSource {
 public:
  // Keeps references. `placements`: per routed block. REQUIRES: they are filled before the first
  // fill().
  BalancedRouting(RoutingSource& inner, const std::vector<ExpertPlacement>& placements,
                  const ParallelLayout& layout, const std::vector<int>& node_of_rank);

  void fill(int step, int layer, LayerRouting& out) override;
  int experts(int layer) const override { return inner_.experts(layer); }
  int layers() const override { return inner_.layers(); }
  ReuseReport reuse() const override { return inner_.reuse(); }
  std::string description() const override { return inner_.description() + ", then balanced"; }
  std::vector<std::string> warnings() const override { return inner_.warnings(); }

 private:
  // Experts that may still take rows, by the node of their first copy; taken in turn.
  struct Takers {
    std::vector<std::int64_t> room;  // by expert
    std::vector<std::vector<int>> of_node;
    std::vector<std::size_t> next;  // by node: where to look first
    std::int64_t left = 0;
  };
  void balance(LayerRouting& out, const ExpertPlacement& placement, std::span<const int> ranks);
  void move_tokens(LayerRouting& out, std::span<const int> ranks, std::span<const int> node,
                   std::vector<std::int64_t>& surplus, Takers& takers) const;
  static void move_counts(LayerRouting& out, std::span<const int> ranks,
                          std::vector<std::int64_t>& surplus, Takers& takers);

  RoutingSource& inner_;
  const std::vector<ExpertPlacement>& placements_;
  std::vector<std::vector<int>> groups_;  // ranks of each expert-parallel group
  std::vector<int> node_of_rank_;
};

// Whole rows per expert that add up to those of `present`, in proportion to `weights`; where a part
// of a row is left over, the experts with the largest part get it, those with most at present
// first.
std::vector<std::int64_t> balanced_rows(std::span<const std::int64_t> present,
                                        std::span<const double> weights);

}  // namespace sim
