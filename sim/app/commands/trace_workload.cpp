// simulate trace synth --workload NAME: a named imbalance workload as a trace of steps and ranks.
#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "models/moe_model.h"
#include "sim/app/commands/trace_workload.h"
#include "sim/app/scenario_workload.h"
#include "sim/core/error.h"

namespace sim {

CLI::Option* add_workload_options(CLI::App& command, WorkloadArguments& arguments) {
  CLI::Option* workload =
      command.add_option("--workload", arguments.name,
                         "steps of a named imbalance workload of `simulate list policies`");
  command
      .add_option("--ep", arguments.expert_ranks,
                  "workload: ranks that share the experts; by default all of --ranks")
      ->check(CLI::Range(1, 1 << 20))
      ->needs(workload);
  return workload;
}

WorkloadSpec read_workload(const WorkloadArguments& arguments, int experts, int top_k, int ranks) {
  const std::unique_ptr<YamlDocument> document = YamlDocument::parse("{}", "--set");
  document->set("workload=" + arguments.name);
  for (const std::string& assignment : arguments.set) document->set(assignment);
  Routing routing;
  routing.experts = experts;
  routing.top_k = top_k;
  ParallelLayout layout;
  layout.world = ranks;
  layout.ep = arguments.expert_ranks > 0 ? arguments.expert_ranks : ranks;
  if (ranks % layout.ep != 0 || layout.ep > experts) {
    throw Error("--ep " + std::to_string(layout.ep) + " does not fit " + std::to_string(ranks) +
                    " ranks and " + std::to_string(experts) + " experts",
                "it divides the ranks and is at most the experts: --ep, --ranks, --experts");
  }
  Mistakes mistakes;
  YamlMap map(document->root(), "--workload", mistakes);
  const WorkloadSpec spec = read_named_workload(map, &routing, layout);
  map.finish();
  mistakes.throw_if_any();
  return spec;
}

}  // namespace sim
