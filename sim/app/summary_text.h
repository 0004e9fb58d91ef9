// What a person reads first after a run.
#pragma once

#include <string>

#include "sim/app/scenario.h"
#include "sim/app/simulation.h"

namespace sim {

std::string summary_text(const Scenario& scenario, const RunOutcome& outcome,
                         const std::string& results);
std::string summary_json(const Scenario& scenario, const RunOutcome& outcome);

// The head of the summary: model, cluster, groups, routing, placement, communication.
std::string scenario_text(const Scenario& scenario);

}  // namespace sim
