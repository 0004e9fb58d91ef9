// One step of a model on all ranks as a task graph: reads like the model.
//
// On the streams of block_tasks.h. A block runs
//   attention or dense FFN:  [all-gather over TP] kernels [reduce-scatter over TP]
//   routed FFN:              norm, router, permute -> dispatch -> (shared experts) experts ->
//   combine -> weighted sum
// Tokens are spread over the ranks of a TP group between blocks, so every rank dispatches its own.
// Shared experts run after dispatch (Overlap::kNone) or while it is under way (kSharedExperts), on
// the SMs that communication leaves.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sim/core/task_graph.h"
#include "sim/workloads/block_costs.h"
#include "sim/workloads/block_tasks.h"
#include "sim/workloads/kinds.h"
#include "sim/workloads/step_plan.h"

namespace sim {

struct StepFacts {
  std::vector<RoutedBlockFacts> blocks;  // in execution order
  std::int64_t tokens = 0;               // new tokens over all ranks
  double least_compute_s = 0;  // physical bound: flops at peak or bytes at HBM peak, busiest rank
};

class InferenceStep {
 public:
  // Keeps references to all.
  InferenceStep(const StepSetup& setup, TaskGraph& graph, ClusterNetwork& network,
                RoutingSource& routing, CostLedger& ledger, BlockTasks::Traffic traffic);

  // Adds the whole step to the graph; `done` runs when the last rank has ended. `routing_step` is
  // asked of the source.
  StepFacts build(int step, int routing_step, Phase phase,
                  const std::vector<RankSequences>& sequences, TaskGraph::Done done);

 private:
  void plain_block(int layer, int block, Phase phase, const std::vector<RankSequences>& sequences);
  void routed_block(int layer, int block, int routed_index, Phase phase,
                    const std::vector<RankSequences>& sequences, StepFacts& facts);
  void group_experts(BlockId block, const GroupPlan& group, const std::vector<TokenBatch>& batches);
  void tp_collective(TaskKind kind, int layer, const std::vector<RankSequences>& sequences);
  Stamp stamp(int layer) const { return {step_, layer, -1, PassKind::kForward}; }
  const Device& device(int rank) const { return *setup_.devices[static_cast<std::size_t>(rank)]; }

  const StepSetup& setup_;
  RoutingSource& routing_source_;
  BlockCosts costs_;
  BlockTasks tasks_;
  RoutedPlanner planner_;
  Lane lane_;
  LayerRouting routing_;
  int step_ = 0;
};

}  // namespace sim
