#include "sim/app/commands/trace_synth_dynamics.h"

#include <fmt/format.h>

#include <iostream>

#include "sim/app/catalog.h"
#include "sim/input/yaml_reader.h"
#include "traces/statistics.h"
#include "traces/synthetic/dynamics/write_dynamics.h"

namespace sim {

void read_dynamics_option(const std::string& text, TrainingRun& run) {
  // The option is a YAML mapping without its braces: its reader gives the checks and suggestions.
  std::string mapping = "{";
  for (const char c : text) mapping += c == '=' ? ": " : std::string(1, c);
  const auto document = YamlDocument::parse(mapping + "}", "--dynamics");
  Mistakes mistakes;
  YamlMap map(document->root(), "--dynamics", mistakes);
  const std::vector<std::string> terms = {"none", "switch", "bias"};
  const std::string term = map.choice_or("term", "none", terms);
  run.term = term == "switch" ? DynamicsTerm::kSwitch
             : term == "bias" ? DynamicsTerm::kBias
                              : DynamicsTerm::kNone;
  if (run.term == DynamicsTerm::kNone) {
    run.coefficient = map.number_or("coefficient", 0);
  } else {
    run.coefficient = map.number("coefficient", {.least = 0, .most = 1e6});
  }
  run.hidden = static_cast<int>(map.count_or("hidden", run.hidden, {.least = 1, .most = 1 << 20}));
  run.warmup_steps = static_cast<int>(map.count_or("warmup", run.warmup_steps));
  run.learning_rate = map.number_or("learning_rate", run.learning_rate, {.least = 1e-9, .most = 1});
  map.finish();
  mistakes.throw_if_any();
}

void synth_dynamics(const TrainingRun& run, int ranks, const std::string& model,
                    const std::string& out) {
  const Catalog catalog;
  const DynamicsConstants constants =
      read_dynamics_constants(catalog.root() + "/traces/synthetic/dynamics/constants.yaml");
  write_dynamics(constants, run, ranks, model, out);
  const TraceInfo info = read_info(out);
  std::cout << fmt::format("{}: {} tokens, {} bytes ({:.2f} per choice)\n", out, info.rows,
                           info.file_bytes, info.bytes_per_choice);
}

}  // namespace sim
