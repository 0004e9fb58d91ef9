// One training step on all ranks as a task graph, built as the run comes to it: a pass is added
// when what it waits for is there and its stage is two slots away, so memory is bounded by what is
// in flight.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "sim/workloads/inference_step.h"
#include "sim/workloads/training_blocks.h"
#include "sim/workloads/training_gradients.h"
#include "sim/workloads/training_plan.h"

namespace sim {

class TrainingStep {
 public:
  // Keeps references to all. REQUIRES: check_schedule() accepts the workload's schedule.
  TrainingStep(const StepSetup& setup, const TrainingWorkload& workload, TaskGraph& graph,
               ClusterNetwork& network, RoutingSource& routing, CostLedger& ledger,
               BlockTasks::Traffic traffic);

  // Adds the first passes, and all others while the loop runs; `done` runs when the last rank has
  // ended. Micro-batch m asks the source for step `routing_step` + m.
  void begin(int step, int routing_step, TaskGraph::Done done);
  // Of the step that has ended; blocks are those of its micro-batches together.
  StepFacts take_facts();

 private:
  enum Direction : std::size_t { kForwards, kBackwards };
  struct Stage {
    std::size_t next = 0;   // slot to build
    std::size_t ended = 0;  // slots that have ended on some rank
    bool finished = false;
  };
  // What the pass before has sent to a part, per rank of its stage; of the part's own stage when it
  // is the same.
  struct Arrival {
    bool built = false;
    std::vector<std::vector<TaskId>> after;  // per rank of the stage
  };

  void build_what_can_be();
  bool can_build(int stage) const;
  bool inputs_built(int stage, const Pass& pass) const;
  void build_slot(int stage);
  std::vector<TrainingBlocks::Segment> segments_of(int stage, std::size_t slot, const Pass& pass,
                                                   bool beside);
  void begin_lane(int stage, const Pass& pass, Lane& lane);
  void end_pass(int stage, const Pass& pass, Lane& lane);
  void send_on(int stage, const Pass& pass, int from_part, int to_part, Direction direction,
               Lane& lane);
  // The slot has ended on a rank: what its forward keeps is there, what its backward kept is gone.
  void tell_memory(int rank, int stage, const Slot& slot);
  void tell_memory(int rank, std::string_view item, Bytes bytes, int sign);
  const std::vector<RoutedPlan>& plans_of(int micro_batch);
  void forget_plans(int micro_batch, int part);
  void add_facts(std::vector<RoutedPlan>& plans);
  TrainingBlocks::PassPlace place_of(int stage, const Pass& pass, bool beside) const;
  int part_of(int stage, const Pass& pass) const;

  const StepSetup& setup_;
  const TrainingWorkload& workload_;
  RoutingSource& routing_source_;
  BlockCosts costs_;
  BlockTasks tasks_;
  RoutedPlanner planner_;
  TrainingBlocks blocks_;
  TrainingGradients gradients_;
  Bytes sent_bytes_;  // of one rank, between two stages
  std::vector<BlockId> routed_;
  std::vector<std::vector<std::size_t>> last_weight_slot_;  // [stage][chunk]
  std::vector<std::vector<Bytes>> kept_;                    // [stage][chunk], when somebody asks

  int step_ = 0;
  int routing_step_ = 0;
  TaskGraph::Done done_;
  std::vector<Stage> stages_;
  std::map<std::pair<int, int>, std::array<Arrival, 2>> arrivals_;  // (micro-batch, part)
  std::map<int, std::vector<RoutedPlan>> plans_;                    // by micro-batch
  int planned_ = 0;  // micro-batches whose routing was asked for
  LayerRouting routing_;
  std::vector<TaskId> launched_;  // per rank, the host's launch
  bool building_ = false;
  bool again_ = false;
  std::size_t finished_stages_ = 0;
  StepFacts facts_;
  std::vector<double> weights_of_facts_;
};

}  // namespace sim
