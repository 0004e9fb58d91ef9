// What the routing of one block comes to on the ranks of one pipeline stage: who sends how many
// copies to whom, and which rows every expert slot gets. Forward, recomputation and backward share
// it.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "sim/policies/collectives/cluster_network.h"
#include "sim/policies/placement/replica_split.h"
#include "sim/workloads/step_plan.h"
#include "traces/routing.h"

namespace sim {

// What the routing of one block came to in one step.
struct RoutedBlockFacts {
  int layer = 0;
  double imbalance_max_over_mean = 1;         // rows per rank after replication
  double expert_imbalance_max_over_mean = 1;  // rows per logical expert
  std::int64_t tokens = 0;
  std::int64_t rows = 0;
  std::vector<std::int64_t> expert_rows;  // per logical expert, over all ranks
  std::vector<int> replicas;              // per logical expert, in one EP group
  bool counts_only = false;
  std::int64_t dropped = 0;  // (token, expert) pairs over capacity
  CapacityFactors capacity;
};

// The exchange of one routed block in one EP group. Bodies of its collectives are made late, so
// every collective keeps it alive.
struct BlockExchange {
  int layer = 0;
  CopyCounts copies;       // without ports
  PortCopies port_copies;  // with them
  std::vector<DeviceId> ranks;
  std::vector<int> node_of_rank;
  int experts = 0;
};

struct GroupPlan {
  std::shared_ptr<BlockExchange> exchange;
  std::vector<std::int64_t> rows_per_slot;  // rank by rank of the group
};

struct RoutedPlan {
  RoutedBlockFacts facts;
  std::vector<GroupPlan> groups;  // of the stage's EP groups, in their order
};

class RoutedPlanner {
 public:
  // Keeps references.
  RoutedPlanner(const StepSetup& setup, const ClusterNetwork& network)
      : setup_(setup), network_(network) {}

  // `routing`: of the ranks of `stage`; `tokens`: of the step, where counts do not tell.
  RoutedPlan plan(BlockId block, const ExpertPlacement& placement, LayerRouting& routing, int stage,
                  std::int64_t tokens);

 private:
  // Of the routing what the ranks of a group bring, which are numbers within the stage.
  const LayerRouting& slice(LayerRouting& routing, const std::vector<DeviceId>& ranks,
                            int first_rank);

  const StepSetup& setup_;
  const ClusterNetwork& network_;
  LayerRouting of_group_;
  SlotAssignment assignment_;
};

double max_over_mean(const std::vector<std::int64_t>& values);

}  // namespace sim
