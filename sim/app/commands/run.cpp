// simulate run: a scenario, its summary, its database.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "sim/app/commands/commands.h"
#include "sim/app/operations/operations_run.h"
#include "sim/app/scenario_document.h"
#include "sim/app/simulation.h"
#include "sim/app/summary_text.h"
#include "sim/core/error.h"

namespace sim {
namespace {

struct RunArguments {
  std::string scenario;
  std::string results;
  std::vector<std::string> set;
  std::optional<std::string> seed;
  std::optional<std::string> timeline;
  std::int64_t timeline_limit = kTimelineLimit;
  std::optional<std::string> timeline_ranks;
  std::optional<std::string> timeline_layers;
  std::optional<std::string> timeline_steps;
  bool json = false;
};

std::optional<TimelineChoice> timeline_choice(const RunArguments& arguments,
                                              const Scenario& scenario) {
  if (!arguments.timeline) return std::nullopt;
  TimelineChoice choice;
  choice.file = *arguments.timeline;
  choice.limit = arguments.timeline_limit;
  const auto read = [](const std::optional<std::string>& text, const char* option,
                       std::size_t count, NumberRanges& ranges) {
    if (text) ranges = NumberRanges(*text, option, static_cast<std::int64_t>(count) - 1);
  };
  read(arguments.timeline_ranks, "--timeline-ranks", scenario.cluster.devices.size(), choice.ranks);
  read(arguments.timeline_layers, "--timeline-layers", scenario.model.layers.size(), choice.layers);
  read(arguments.timeline_steps, "--timeline-steps", static_cast<std::size_t>(scenario.steps()),
       choice.steps);
  if (choice.file == arguments.results) {
    throw Error("--timeline and --results name one file, '" + choice.file + "'",
                "give the timeline a name of its own");
  }
  return choice;
}

void show_progress(int done, int steps) {
  constexpr int kWidth = 30;
  const int filled = static_cast<int>(static_cast<std::int64_t>(kWidth) * done / steps);
  std::cerr << "\rstep " << done << "/" << steps << " ["
            << std::string(static_cast<std::size_t>(filled), '#')
            << std::string(static_cast<std::size_t>(kWidth - filled), ' ') << "]"
            << (done == steps ? "\n" : "") << std::flush;
}

// Layers of given operations: no model, no cluster.
void run_layers_alone(YamlDocument& document, const RunArguments& arguments) {
  if (arguments.timeline) {
    throw Error("--timeline does not go with workload.kind operations",
                "a timeline shows the GPUs of a cluster, and this kind has none");
  }
  const OperationsScenario scenario = read_operations_scenario(document);
  std::function<void(int, int)> progress;
  if (isatty(STDERR_FILENO) != 0) progress = show_progress;
  const OperationsOutcome outcome = run_operations(scenario, arguments.results, progress);
  std::cout << (arguments.json ? operations_json(scenario, outcome)
                               : operations_text(scenario, outcome));
}

void run(const RunArguments& arguments) {
  const Catalog catalog;
  const std::unique_ptr<YamlDocument> document =
      load_scenario(arguments.scenario, {arguments.set, arguments.seed}, catalog);
  if (is_operations_scenario(*document)) {
    run_layers_alone(*document, arguments);
    return;
  }
  const Scenario scenario = read_scenario(*document, catalog);
  RunOptions options;
  options.results = arguments.results;
  options.timeline = timeline_choice(arguments, scenario);
  if (isatty(STDERR_FILENO) != 0) options.progress = show_progress;
  const RunOutcome outcome = run_scenario(scenario, options);
  std::cout << (arguments.json ? summary_json(scenario, outcome)
                               : summary_text(scenario, outcome, arguments.results));
}

}  // namespace

void attach_run(CLI::App& app) {
  CLI::App* command = app.add_subcommand("run", "run a scenario and say how long it takes and why");
  auto arguments = std::make_shared<RunArguments>();
  command
      ->add_option("scenario", arguments->scenario,
                   "a YAML file, or a name from `simulate list scenarios`")
      ->required();
  command->add_option("--results", arguments->results, "append the run to this SQLite database");
  command->add_option("--set", arguments->set, "override a key: --set workload.steps=5")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--seed", arguments->seed, "the seed, instead of the scenario's");
  CLI::Option* timeline = command->add_option(
      "--timeline", arguments->timeline, "write a trace that ui.perfetto.dev opens: FILE.json");
  command
      ->add_option("--timeline-limit", arguments->timeline_limit,
                   "events of it at most, about 160 bytes each")
      ->check(CLI::NonNegativeNumber)
      ->needs(timeline)
      ->capture_default_str();
  command->add_option("--timeline-ranks", arguments->timeline_ranks, "only these GPUs: 0-7,64")
      ->needs(timeline);
  command->add_option("--timeline-layers", arguments->timeline_layers, "only these layers")
      ->needs(timeline);
  command->add_option("--timeline-steps", arguments->timeline_steps, "only these steps, from 0")
      ->needs(timeline);
  command->add_flag("--json", arguments->json, "the summary as JSON");
  command->callback([arguments] { run(*arguments); });
}

}  // namespace sim
