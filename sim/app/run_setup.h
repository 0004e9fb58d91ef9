// From a scenario to what a run needs: its routing, its placements, its setup; and whether its
// memory fits.
#pragma once

#include <memory>
#include <vector>

#include "models/memory.h"
#include "sim/app/scenario.h"
#include "sim/workloads/step_plan.h"
#include "traces/routing.h"

namespace sim {

// What a routing is asked for: the run itself, or the loads of `steps` steps before it. Synthetic
// popularity does not change over steps, so the loads of many steps are those of one with as many
// times the tokens, counted and not drawn; those of a named workload are counted step by step.
// Loads are what the gates choose: a capacity is the run's own.
struct RoutingPurpose {
  bool loads_only = false;
  int steps = 1;
};

// Null for a model without routed experts.
std::unique_ptr<RoutingSource> make_routing(const Scenario& scenario, RoutingPurpose purpose);

// Per routed block of the model; empty for those that the run leaves out.
std::vector<ExpertPlacement> make_placements(const Scenario& scenario);

// What prices the scenario's kernels.
std::unique_ptr<CostModel> make_costs(const Scenario& scenario);

// All but the placements. Keeps references to the scenario and the cost model.
StepSetup make_setup(const Scenario& scenario, const CostModel& costs,
                     const ExchangeAlgorithm& exchange);

// Throws Error when the routing does not fit the model or the cluster (shape, ranks, a damaged
// trace).
void check_routing(const Scenario& scenario);

// Memory items per rank. Throws Error, naming the items, when a rank's do not fit its device.
std::vector<std::vector<MemoryItem>> check_memory(const Scenario& scenario);

}  // namespace sim
