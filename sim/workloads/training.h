// Training: steps one after another, every rank starting the next one together.
#pragma once

#include <functional>

#include "sim/core/event_loop.h"
#include "sim/workloads/inference.h"
#include "sim/workloads/training_step.h"

namespace sim {

// Runs all steps on the loop; `on_step` is called as each one ends, before the next one begins.
class TrainingRun {
 public:
  // Keeps references to all but the functions.
  TrainingRun(const TrainingWorkload& workload, const StepSetup& setup, EventLoop& loop,
              TaskGraph& graph, ClusterNetwork& network, RoutingSource& routing, CostLedger& ledger,
              BlockTasks::Traffic traffic, std::function<void(const StepResult&)> on_step);
  // Fewer steps end when a device stops (TaskGraph::stopped_device). Throws Error when something
  // never ends for another reason.
  void run();

 private:
  void begin(int step);

  const TrainingWorkload& workload_;
  EventLoop& loop_;
  TaskGraph& graph_;
  ClusterNetwork& network_;
  TrainingStep builder_;
  std::function<void(const StepResult&)> on_step_;
  int finished_ = 0;
};

}  // namespace sim
