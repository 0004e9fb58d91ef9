// simulate collective: one operation alone, as nccl-tests and DeepEP's tests measure it.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "sim/app/collective_sweep.h"
#include "sim/app/collective_text.h"
#include "sim/app/commands/commands.h"

namespace sim {

void attach_collective(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "collective", "time one collective, dispatch or combine alone on an idle cluster");
  auto a = std::make_shared<CollectiveArguments>();
  auto json = std::make_shared<bool>(false);
  auto detail = std::make_shared<bool>(false);
  command
      ->add_option("--cluster", a->cluster,
                   "a name from `simulate list clusters`, a generator or a YAML file")
      ->required();
  command->add_option("--nodes", a->nodes, "nodes that take part")->capture_default_str();
  command->add_option("--ranks", a->ranks, "ranks, the same number on each node (default: all)");
  command->add_option("--set", a->set, "a parameter of the cluster: --set nic.bandwidth='200 Gb/s'")
      ->take_all()
      ->allow_extra_args(false);
  std::string operations;
  for (const std::string& name : sweep_operations())
    operations += (operations.empty() ? "" : " | ") + name;
  command->add_option("--op", a->operation, operations)->required();
  command->add_option("--algorithm", a->algorithm, "see `simulate list policies`")->required();
  command->add_option("--sms", a->sms, "SMs that it holds (default: the algorithm's own)");
  command->add_option("--tp", a->tensor_parallel,
                      "ranks of a tensor-parallel group, for algorithms that travel by groups");
  command->add_option("--library", a->library,
                      "whose constants, where the cluster has those of several libraries");
  command
      ->add_option("--fidelity", a->fidelity,
                   "flows: every transfer | ports: a send and a receive per rank (dispatch, "
                   "combine; thousands of ranks)")
      ->capture_default_str();
  command->add_option("--dtype", a->dtype, "of the values: bf16 | fp16 | fp8 | nvfp4 | fp32")
      ->capture_default_str();
  command->add_option("--bytes", a->bytes, "sizes: 8M | 1KiB,64MiB | 8:128M:2 (begin:end:factor)");
  command->add_option("--tokens", a->tokens,
                      "dispatch, combine: tokens of a rank: 128 | 64,128 | 1:4096:2");
  command->add_option("--hidden", a->hidden, "values of a token");
  command->add_option("--topk", a->top_k, "experts that a token goes to");
  command->add_option("--experts", a->experts, "routed experts, in order over the ranks");
  command->add_option("--group-limit", a->group_limit,
                      "a token's experts are in at most so many groups of experts");
  command->add_option("--groups", a->groups, "groups of experts (default: one per node)");
  command->add_option("--zipf", a->zipf, "exponent of the experts' popularity (default: uniform)");
  command->add_option("--seed", a->seed, "of the tokens' choices (default: 1)")
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--detail", *detail, "also where the time goes, and the busiest link");
  command->add_flag("--json", *json, "the rows as JSON");
  command->callback([a, json, detail] {
    const CollectiveSweep sweep = run_collective_sweep(*a, Catalog());
    std::cout << (*json ? sweep_json(sweep) : sweep_text(sweep, *detail));
  });
}

}  // namespace sim
