// simulate trace dynamics fit | accuracy: the model of a router in training beside real trainings.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>

#include "sim/app/catalog.h"
#include "sim/app/commands/trace.h"
#include "sim/core/error.h"
#include "sim/input/whole_file.h"
#include "traces/synthetic/dynamics/dynamics_accuracy.h"
#include "traces/synthetic/dynamics/dynamics_fit.h"

namespace sim {
namespace {

constexpr const char* kConstants = "traces/synthetic/dynamics/constants.yaml";
constexpr const char* kSwitchValues = "traces/synthetic/dynamics/switch_values.csv";
constexpr const char* kSamples = "traces/samples/training";

struct DynamicsArguments {
  std::string samples, constants, out;
  int trials = 1000;
  int seeds = 1;
};

std::string or_of_catalog(const std::string& given, const char* path) {
  return given.empty() ? Catalog().root() + "/" + path : given;
}

void fit(const DynamicsArguments& a) {
  std::vector<RecordedRun> runs = read_recorded_runs(or_of_catalog(a.samples, kSamples));
  std::erase_if(runs, [](const RecordedRun& run) { return !fitting_run(run); });
  if (runs.empty()) {
    throw Error("none of the runs to fit to is there",
                "small-k2-none, small-k2-switch0.003 and small-k2-switch0.03 with seeds 1 and 2");
  }
  add_switch_values(Catalog().root() + "/" + kSwitchValues, runs);
  const DynamicsConstants start = read_dynamics_constants(or_of_catalog(a.constants, kConstants));
  double loss = 0;
  DynamicsConstants fitted =
      fit_dynamics(start, runs, a.trials, a.seeds, [&](int trial, double now) {
        std::cerr << fmt::format("trial {}: loss {:.4f}\n", trial, now);
        loss = now;
      });
  double error = 0;
  const DynamicsAccuracy accuracy = measure_dynamics(fitted, runs, kAccuracySeeds);
  for (const RunAccuracy& run : accuracy.runs) {
    error += run.error / static_cast<double>(accuracy.runs.size());
  }
  fitted.label = "fitted";
  fitted.provenance = fmt::format(
      "random search (seed 1) from {} constants, {} trials, {} trainings of the model per run: "
      "loss "
      "{:.3f}; imbalance over windows of 20 steps is off by {:.1f} % in the mean of the fitted "
      "runs",
      a.constants.empty() ? "the committed" : "given", a.trials, a.seeds, loss, 100 * error);
  fitted.fitted_to.clear();
  for (const RecordedRun& run : runs) fitted.fitted_to.push_back(run.name);
  WholeFile(a.out).write(dynamics_constants_yaml(fitted));
  std::cout << fmt::format("{}: loss {:.4f}, error {:.1f} %\n", a.out, loss, 100 * error);
}

}  // namespace

void attach_trace_dynamics(CLI::App& parent) {
  CLI::App* command = parent.add_subcommand(
      "dynamics", "the model of a router in training beside real trainings: fit | accuracy");
  command->require_subcommand(1);
  auto a = std::make_shared<DynamicsArguments>();
  const auto add_common = [a](CLI::App* to) {
    to->add_option("--samples", a->samples,
                   fmt::format("folder of NAME.counts.moetrace (default: {})", kSamples));
    to->add_option("--constants", a->constants, fmt::format("(default: {})", kConstants));
  };
  CLI::App* fitting = command->add_subcommand("fit", "constants from trainings (minutes)");
  add_common(fitting);
  fitting->add_option("--trials", a->trials, "of the random search")
      ->check(CLI::Range(0, 1000000))
      ->capture_default_str();
  fitting->add_option("--seeds", a->seeds, "trainings of the model per run")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  fitting->add_option("-o,--out", a->out, "the constants' YAML to write")->required();
  fitting->callback([a] { fit(*a); });
  CLI::App* accuracy =
      command->add_subcommand("accuracy", "errors for every training, fitted or not");
  add_common(accuracy);
  accuracy->callback([a] {
    const std::vector<RecordedRun> runs = read_recorded_runs(or_of_catalog(a->samples, kSamples));
    std::cout << dynamics_accuracy_markdown(measure_dynamics(
        read_dynamics_constants(or_of_catalog(a->constants, kConstants)), runs, kAccuracySeeds));
  });
}

}  // namespace sim
