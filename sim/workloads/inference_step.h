// One step of a model on all ranks as a task graph: reads like the model.
//
// Per rank three in-order streams: host, compute, communication. A block runs
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
#include "sim/workloads/kinds.h"
#include "sim/workloads/step_plan.h"

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
};

struct StepFacts {
  std::vector<RoutedBlockFacts> blocks;  // in execution order
  std::int64_t tokens = 0;               // new tokens over all ranks
  double least_compute_s = 0;  // physical bound: flops at peak or bytes at HBM peak, busiest rank
};

class InferenceStep {
 public:
  // `traffic` receives (layer, direction, source, destination, payload) of every leg, when a
  // collective is reached.
  using Traffic = std::function<void(int layer, TaskKind kind, DeviceId source,
                                     DeviceId destination, Bytes bytes)>;

  // Keeps references to all.
  InferenceStep(const InferenceSetup& setup, TaskGraph& graph, ClusterNetwork& network,
                RoutingSource& routing, CostLedger& ledger, Traffic traffic);

  // Adds the whole step to the graph; `done` runs when the last rank has ended. `routing_step` is
  // asked of the source.
  StepFacts build(int step, int routing_step, Phase phase,
                  const std::vector<RankSequences>& sequences, TaskGraph::Done done);

 private:
  // The exchange of one routed block in one EP group: kept until the step has ended, for its bodies
  // are made late.
  struct BlockExchange {
    int layer = 0;
    int group = 0;
    CopyCounts copies;       // without ports
    PortCopies port_copies;  // with them
    std::vector<DeviceId> ranks;
    std::vector<int> node_of_rank;
    int experts = 0;
  };
  struct Rank {
    StreamId compute;
    StreamId communication;
    StreamId host;
    HeldId sms;
    std::vector<TaskId> needs;  // what the next kernel comes after, beside stream order
    TaskId last;                // last task that produced its present activations
    double least_s = 0;
  };

  void begin_step(int step);
  void run_kernel(int rank, const PricedKernel& kernel, int layer, int sms,
                  std::span<const CauseShare> shares);
  void run_kernels(int rank, const std::vector<PricedKernel>& kernels, int layer, int sms);
  void plain_block(int layer, int block, Phase phase, const std::vector<RankSequences>& sequences);
  void routed_block(int layer, int block, int routed_index, Phase phase,
                    const std::vector<RankSequences>& sequences, StepFacts& facts);
  void group_experts(BlockId block, int group, std::size_t exchange,
                     const std::vector<std::int64_t>& rows_per_slot,
                     const ExpertPlacement& placement, const std::vector<TokenBatch>& batches);
  void tp_collective(TaskKind kind, int layer, const std::vector<RankSequences>& sequences);
  std::vector<TaskId> exchange(std::size_t index, TaskKind kind);
  void fill_exchange(BlockExchange& data, TaskKind kind, CollectiveBody& body);
  void slice_group(int group);

  const InferenceSetup& setup_;
  TaskGraph& graph_;
  ClusterNetwork& network_;
  RoutingSource& routing_source_;
  CostLedger& ledger_;
  Traffic traffic_;
  BlockCosts costs_;
  std::vector<Rank> ranks_;
  std::vector<std::unique_ptr<BlockExchange>> exchanges_;
  LayerRouting routing_;
  LayerRouting group_routing_;
  SlotAssignment assignment_;
  int step_ = 0;
};

}  // namespace sim
