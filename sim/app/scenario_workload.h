// routing: {workload: NAME, ...}: one of the named imbalance workloads, out of a scenario.
#pragma once

#include "models/moe_model.h"
#include "sim/input/yaml_reader.h"
#include "sim/workloads/parallel.h"
#include "traces/synthetic/workloads.h"

namespace sim {

// Reads the workload's name and its parameters; a key that it does not have is left unknown. With
// `routing` (of the model's first routed block; null: not known) defaults are shown and what the
// block cannot have is a mistake.
WorkloadSpec read_named_workload(YamlMap& map, const Routing* routing,
                                 const ParallelLayout& layout);

}  // namespace sim
