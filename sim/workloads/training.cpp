#include "sim/workloads/training.h"

#include <utility>

namespace sim {

TrainingRun::TrainingRun(const TrainingWorkload& workload, const StepSetup& setup, EventLoop& loop,
                         TaskGraph& graph, ClusterNetwork& network, RoutingSource& routing,
                         CostLedger& ledger, BlockTasks::Traffic traffic,
                         std::function<void(const StepResult&)> on_step)
    : workload_(workload),
      loop_(loop),
      graph_(graph),
      network_(network),
      builder_(setup, workload, graph, network, routing, ledger, std::move(traffic)),
      on_step_(std::move(on_step)) {}

void TrainingRun::begin(int step) {
  StepResult result;
  result.step = step;
  result.start = loop_.now();
  builder_.begin(step, workload_.routing_step_offset + step * workload_.micro_batches,
                 [this, result](Time end, const CauseVector& causes) mutable {
                   result.end = end;
                   result.causes = causes;
                   result.facts = builder_.take_facts();
                   graph_.report_idle_end({-1, -1, result.step});
                   on_step_(result);
                   ++finished_;
                   if (result.step + 1 < workload_.steps) begin(result.step + 1);
                 });
}

void TrainingRun::run() {
  begin(0);
  loop_.run();
  if (finished_ == workload_.steps || graph_.stopped_device()) return;
  throw_stuck(graph_, network_, finished_);
}

}  // namespace sim
