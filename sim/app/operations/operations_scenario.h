// A scenario of kind `operations`: layers of operations with given linear costs under a layer
// schedule, without a model and a cluster. sim/scenarios/operations.md names its keys.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/input/yaml_reader.h"
#include "sim/policies/schedules/layer_schedule.h"
#include "sim/workloads/layer_operations.h"
#include "sim/workloads/linear_costs.h"

namespace sim {

struct LayerConfiguration {
  std::string name;  // its sizes, for people; empty: times were given
  LayerOperations operations;
};

struct OperationsScenario {
  std::string name;
  std::string text;  // as run, with --set applied
  int layers = 1;
  const LinearCosts* costs = nullptr;
  bool given_times = false;  // of whole operations; `costs` then gives the start-ups in them
  const LayerPolicy* policy = nullptr;
  const LayerPolicy* baseline = nullptr;           // what to compare with; null: nothing
  std::optional<int> degree;                       // absent: searched
  std::vector<LayerConfiguration> configurations;  // every combination of the listed sizes
  std::vector<ReadKey> keys;
};

// Whether the document's workload.kind is `operations`. Asks for no key.
bool is_operations_scenario(YamlDocument& document);

OperationsScenario read_operations_scenario(YamlDocument& document);  // throws Error

}  // namespace sim
