// simulate trace synth: write a synthetic trace.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <iostream>
#include <memory>

#include "sim/app/commands/trace.h"
#include "sim/app/commands/trace_synth_dynamics.h"
#include "sim/app/commands/trace_synth_gate.h"
#include "sim/app/commands/trace_synth_like.h"
#include "sim/app/commands/trace_workload.h"
#include "sim/core/error.h"
#include "sim/input/whole_file.h"
#include "traces/gating/synth_gate.h"
#include "traces/statistics.h"
#include "traces/synthetic/synthetic.h"

namespace sim {
namespace {

constexpr std::uint64_t kMostSeed = 9'000'000'000'000'000;  // as that of a scenario

struct SynthArguments {
  std::string out, like;
  bool report = false;
  std::string model = "synthetic";
  double zipf = 0;
  int layers = 24, experts = 32, top_k = 4, steps = 0, ranks = 8;
  std::int64_t tokens_per_rank = 64, requests = 0;
  std::vector<std::int64_t> positions = {16, 64};
  double repeat = 0;
  std::uint64_t seed = 1;
  GateTrace gate;
  std::string dynamics;
  WorkloadArguments workload;
};

void synth_by_dynamics(const SynthArguments& arguments) {
  TrainingRun run;
  run.experts = arguments.experts;
  run.top_k = arguments.top_k;
  run.layers = arguments.layers;
  run.tokens_per_step = arguments.tokens_per_rank * arguments.ranks;
  run.steps = arguments.steps;
  run.seed = arguments.seed;
  read_dynamics_option(arguments.dynamics, run);
  synth_dynamics(run, arguments.ranks, arguments.model, arguments.out);
}

void synth_by_gate(SynthArguments& arguments) {
  GateTrace& trace = arguments.gate;
  trace.model = arguments.model;
  trace.layers = arguments.layers;
  trace.experts = arguments.experts;
  trace.top_k = arguments.top_k;
  trace.steps = arguments.steps;
  trace.ranks = arguments.ranks;
  trace.tokens_per_rank = arguments.tokens_per_rank;
  synth_gate_command(trace, arguments.seed, arguments.out);
}

void synth(const SynthArguments& arguments) {
  SyntheticSpec spec;
  spec.kind = arguments.zipf > 0 ? SyntheticKind::kZipf : SyntheticKind::kUniform;
  spec.exponent = arguments.zipf;
  SyntheticTrace trace;
  trace.model = arguments.model;
  trace.experts.assign(static_cast<std::size_t>(arguments.layers), arguments.experts);
  trace.top_k = arguments.top_k;
  if (arguments.requests > 0) {
    trace.requests = arguments.requests;
    trace.min_positions = arguments.positions[0];
    trace.max_positions = arguments.positions[1];
    trace.repeat = arguments.repeat;
  } else {
    trace.steps = arguments.steps;
    trace.tokens_per_rank.assign(static_cast<std::size_t>(arguments.ranks),
                                 arguments.tokens_per_rank);
  }
  if (arguments.workload.name.empty()) {
    write_synthetic(spec, trace, arguments.seed, arguments.out);
  } else {
    write_workload(
        read_workload(arguments.workload, arguments.experts, arguments.top_k, arguments.ranks),
        trace, arguments.seed, arguments.out);
  }
  const TraceInfo info = read_info(arguments.out);
  std::cout << fmt::format("{}: {} tokens, {} bytes ({:.2f} per choice)\n", arguments.out,
                           info.rows, info.file_bytes, info.bytes_per_choice);
}

// Before a fit that may take a minute: the result must not replace what it is like, and must have a
// place.
void check_like_out(const std::string& like, const std::string& out) {
  std::error_code ignored;
  if (std::filesystem::equivalent(like, out, ignored))
    throw Error(Place{out}, "this is the trace to be like itself", "name another file with -o");
  const WholeFile probe(out);
}

}  // namespace

void attach_trace_synth(CLI::App& parent) {
  CLI::App* command = parent.add_subcommand(
      "synth", "write a synthetic trace: steps and ranks, or requests and positions");
  auto a = std::make_shared<SynthArguments>();
  auto* out = command->add_option("-o,--out", a->out, "the .moetrace to write");
  command->add_option("--model", a->model, "name in the header")->capture_default_str();
  auto* zipf =
      command->add_option("--zipf", a->zipf, "exponent of the experts' popularity; 0: uniform")
          ->check(CLI::Range(0.0, 20.0))
          ->capture_default_str();
  command->add_option("--layers", a->layers, "routed layers")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  command->add_option("--experts", a->experts, "experts per layer")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  command->add_option("--top-k", a->top_k, "choices per token")
      ->check(CLI::Range(1, 255))
      ->capture_default_str();
  auto* steps =
      command->add_option("--steps", a->steps, "steps of --tokens-per-rank tokens on --ranks ranks")
          ->check(CLI::Range(1, 1 << 20));
  command->add_option("--ranks", a->ranks, "source ranks")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  command->add_option("--tokens-per-rank", a->tokens_per_rank, "tokens")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  auto* requests = command->add_option("--requests", a->requests, "requests instead of steps")
                       ->check(CLI::Range(1, 1 << 24));
  auto* positions =
      command->add_option("--positions", a->positions, "least and most tokens of a request")
          ->expected(2)
          ->check(CLI::Range(1, 1 << 24));
  auto* repeat = command
                     ->add_option("--repeat", a->repeat,
                                  "chance that a token keeps the experts of the one before it")
                     ->check(CLI::Range(0.0, 1.0))
                     ->capture_default_str();
  command->add_option("--seed", a->seed, "seed")
      ->check(CLI::Range(std::uint64_t{0}, kMostSeed))
      ->capture_default_str();
  steps->excludes(requests);
  positions->needs(requests);
  repeat->needs(requests);
  for (const char* name : {"--ranks", "--tokens-per-rank"})
    requests->excludes(command->get_option(name));
  auto* gate = command
                   ->add_option("--gate", a->gate.gate,
                                "steps by a routing function of `simulate list policies`, on "
                                "drawn router scores")
                   ->excludes(zipf)
                   ->excludes(requests)
                   ->excludes(positions)
                   ->excludes(repeat);
  command
      ->add_option("--set", a->gate.set,
                   "KEY=VALUE of --gate (traces/gating/README.md) or --workload "
                   "(sim/scenarios/workloads.md)")
      ->allow_extra_args(false);
  auto* dynamics = command
                       ->add_option("--dynamics", a->dynamics,
                                    "steps of a router in training: term=switch,coefficient=0.01 "
                                    "(traces/synthetic/dynamics)")
                       ->excludes(zipf)
                       ->excludes(gate)
                       ->excludes(requests)
                       ->excludes(positions)
                       ->excludes(repeat);
  auto* workload = add_workload_options(*command, a->workload);
  for (CLI::Option* other : {zipf, gate, dynamics, requests, positions, repeat})
    workload->excludes(other);
  auto* like = command->add_option("--like", a->like, "behave like this trace (a .moetrace)");
  auto* report = command->add_flag("--report", a->report,
                                   "with --like: fit one half, set it beside the other (Markdown)");
  for (const char* name :
       {"--model", "--zipf", "--layers", "--experts", "--top-k", "--ranks", "--tokens-per-rank",
        "--positions", "--repeat", "--gate", "--set", "--dynamics", "--workload"})
    like->excludes(command->get_option(name));
  report->needs(like)->excludes(out)->excludes(steps)->excludes(requests);
  command->callback([a, out, steps, requests, gate, dynamics, workload, like] {
    if (!a->report && out->count() == 0) throw Error("trace synth needs -o FILE to write to");
    if (like->count() > 0) {
      if (!a->report) check_like_out(a->like, a->out);
      const bool has_steps = steps->count() > 0;
      synth_like(
          {a->like, a->out, has_steps, has_steps ? a->steps : a->requests, a->seed, a->report});
      return;
    }
    a->workload.set = a->gate.set;
    if (!a->gate.set.empty() && gate->count() + workload->count() == 0)
      throw Error("--set is a key of --gate or of --workload");
    if (dynamics->count() > 0) {
      if (steps->count() == 0) throw Error("trace synth --dynamics needs --steps");
      synth_by_dynamics(*a);
      return;
    }
    if (gate->count() > 0) {
      if (steps->count() == 0) throw Error("trace synth --gate needs --steps");
      synth_by_gate(*a);
      return;
    }
    if (steps->count() + requests->count() == 0)
      throw Error("trace synth needs --steps or --requests");
    synth(*a);
  });
}

}  // namespace sim
