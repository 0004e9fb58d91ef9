// Runs a scenario of kind `operations`; its metrics, its rows of the results database, its summary.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "analysis/records.h"
#include "sim/app/operations/operations_scenario.h"
#include "sim/workloads/layer_search.h"

namespace sim {

struct ConfigurationOutcome {
  std::string name;
  int forward_degree = 1;
  int backward_degree = 1;
  Duration forward{};
  Duration total{};
  Duration baseline{};  // zero: none asked for
  CauseVector causes{};
};

struct OperationsOutcome {
  std::int64_t run_id = 0;  // 0: no database
  std::string fingerprint;
  std::vector<ConfigurationOutcome> configurations;
  std::vector<MetricRecord> metrics;
  std::vector<CostRecord> costs;
  std::vector<CauseRecord> causes;  // of the critical paths, summed over configurations
};

// `results`: database to append to, one step per configuration; empty: none.
OperationsOutcome run_operations(const OperationsScenario& scenario, const std::string& results,
                                 const std::function<void(int done, int of)>& progress = {});

std::string operations_text(const OperationsScenario& scenario, const OperationsOutcome& outcome);
std::string operations_json(const OperationsScenario& scenario, const OperationsOutcome& outcome);
std::string operations_check_text(const OperationsScenario& scenario);
std::string operations_check_json(const OperationsScenario& scenario);

}  // namespace sim
