// simulate explain: where the time of a step goes, and what each cause removed would save.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "sim/app/commands/commands.h"
#include "sim/app/counterfactual.h"
#include "sim/app/explanation.h"
#include "sim/app/explanation_text.h"
#include "sim/app/simulation.h"
#include "sim/core/error.h"

namespace sim {
namespace {

constexpr int kTop = 8;

struct ExplainArguments {
  std::string scenario;
  std::vector<std::string> set;
  std::optional<std::string> seed;
  std::optional<int> step;
  int top = kTop;
  bool json = false;
};

void say(const std::string& what) {
  if (isatty(STDERR_FILENO) != 0) std::cerr << "\r\033[K" << what << std::flush;
}

// Mean over the explained steps with one cause removed.
Duration step_without(const CounterfactualName& removed, const Scenario& scenario,
                      std::optional<int> step) {
  Duration sum{0};
  int steps = 0;
  RunOptions options;
  options.removed = removed.removed;
  options.on_step = [&](const StepEvidence& evidence) {
    if (step && evidence.batch.step.step != *step) return;
    sum += evidence.batch.step.duration;
    ++steps;
  };
  run_scenario(scenario, options);
  SIM_CHECK(steps > 0, "a run without a cause has the same steps");
  return sum / steps;
}

void explain(const ExplainArguments& arguments) {
  const Catalog catalog;
  const Scenario scenario =
      read_scenario(arguments.scenario, {arguments.set, arguments.seed}, catalog);
  if (arguments.step && (*arguments.step < 0 || *arguments.step >= scenario.steps())) {
    throw Error("--step: there is no step " + std::to_string(*arguments.step) + " in this run",
                "its steps are 0 to " + std::to_string(scenario.steps() - 1));
  }
  Explainer explainer(scenario, arguments.step);
  RunOptions options;
  options.follow_path = true;
  options.on_step = [&](const StepEvidence& evidence) { explainer.add(evidence); };
  say("the run");
  if (run_scenario(scenario, options).failure) {
    throw Error("a rank stops in this run, so that its steps do not end",
                "`simulate run` says who noticed and what was lost");
  }
  Explanation explanation = explainer.result();
  for (const CounterfactualName& each : kCounterfactuals) {
    Saving saving{std::string(each.name), std::string(each.means),
                  no_effect(each.removed, scenario), std::nullopt};
    if (saving.not_run.empty()) {
      say(saving.name);
      saving.step = step_without(each, scenario, arguments.step);
    }
    explanation.savings.push_back(std::move(saving));
  }
  say("");
  std::cout << (arguments.json ? explanation_json(scenario, explanation)
                               : explanation_text(scenario, explanation,
                                                  static_cast<std::size_t>(arguments.top)));
}

}  // namespace

void attach_explain(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "explain", "where the time of a step goes, and what each cause removed would save");
  auto arguments = std::make_shared<ExplainArguments>();
  command
      ->add_option("scenario", arguments->scenario,
                   "a YAML file, or a name from `simulate list scenarios`")
      ->required();
  command->add_option("--set", arguments->set, "override a key: --set workload.steps=5")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--seed", arguments->seed, "the seed, instead of the scenario's");
  command->add_option("--step", arguments->step,
                      "only this step, from 0; otherwise the mean of all");
  command->add_option("--top", arguments->top, "causes shown")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  command->add_flag("--json", arguments->json, "as JSON, everything");
  command->callback([arguments] { explain(*arguments); });
}

}  // namespace sim
