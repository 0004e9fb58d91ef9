// The options of `simulate trace synth --workload`.
#pragma once

#include <string>
#include <vector>

#include "traces/synthetic/workloads.h"

namespace CLI {
class App;
class Option;
}  // namespace CLI

namespace sim {

struct WorkloadArguments {
  std::string name;              // empty: none
  int expert_ranks = 0;          // 0: as many as ranks
  std::vector<std::string> set;  // key=value
};

// Keeps references to the arguments; returns --workload. Their `set` is the caller's to fill.
CLI::Option* add_workload_options(CLI::App& command, WorkloadArguments& arguments);

// Throws Error with every mistake.
WorkloadSpec read_workload(const WorkloadArguments& arguments, int experts, int top_k, int ranks);

}  // namespace sim
