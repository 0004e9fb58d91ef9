#include "traces/synthetic/dynamics/training_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "sim/core/error.h"
#include "sim/input/yaml_reader.h"

namespace sim {
namespace {

// What a training holds: 32 clusters of 24 features and of `experts` numbers per layer.
constexpr std::int64_t kMostRouterRows = 1 << 20;  // layers * experts: 1 GiB

}  // namespace

std::string_view to_text(DynamicsTerm term) {
  switch (term) {
    case DynamicsTerm::kNone:
      return "none";
    case DynamicsTerm::kSwitch:
      return "switch";
    case DynamicsTerm::kBias:
      return "bias";
  }
  return "";
}

void check_training_run(const TrainingRun& run) {
  Mistakes mistakes;
  const auto need = [&](bool holds, std::string message, std::string hint = {}) {
    if (!holds) mistakes.add(Place{}, std::move(message), std::move(hint));
  };
  need(run.experts >= 2 && run.experts <= 65536,
       fmt::format("{} experts: 2 to 65536 can be trained", run.experts));
  need(run.top_k >= 1 && run.top_k <= std::min(run.experts, 255),
       fmt::format("top-{} of {} experts", run.top_k, run.experts));
  need(run.layers >= 1 && run.layers <= 4096, fmt::format("{} layers: 1 to 4096", run.layers));
  need(std::int64_t{run.layers} * run.experts <= kMostRouterRows,
       fmt::format("{} layers of {} experts: at most 2^20 router rows", run.layers, run.experts));
  need(run.tokens_per_step >= 1 && run.tokens_per_step <= (std::int64_t{1} << 32),
       fmt::format("{} tokens per step: 1 to 2^32", run.tokens_per_step));
  need(run.steps >= 1 && run.steps <= (1 << 20), fmt::format("{} steps: 1 to 2^20", run.steps));
  need(run.warmup_steps >= 0, "warm-up steps below 0");
  need(run.hidden >= 1 && run.hidden <= (1 << 20), fmt::format("hidden {}: 1 to 2^20", run.hidden));
  need(run.last_share >= 0 && run.last_share <= 1,
       fmt::format("last share {} of the learning rate: 0 to 1", run.last_share));
  need(run.learning_rate > 0 && run.learning_rate <= 1,
       fmt::format("learning rate {}: above 0, at most 1", run.learning_rate));
  need(std::isfinite(run.coefficient) && run.coefficient >= 0,
       fmt::format("coefficient {}: a number from 0", run.coefficient));
  need(run.term != DynamicsTerm::kNone || run.coefficient == 0,
       fmt::format("a coefficient of {} without a balance term", run.coefficient),
       "term=switch or term=bias");
  mistakes.throw_if_any();
}

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

double learning_rate_share(const TrainingRun& run, int step) {
  if (step < run.warmup_steps) return static_cast<double>(step + 1) / run.warmup_steps;
  const double done =
      static_cast<double>(step - run.warmup_steps) / std::max(1, run.steps - run.warmup_steps);
  return run.last_share + (1 - run.last_share) * 0.5 * (1 + std::cos(std::numbers::pi * done));
}

std::string describe(const TrainingRun& run) {
  std::string text = fmt::format("term {}", to_text(run.term));
  if (run.term != DynamicsTerm::kNone) text += fmt::format(", coefficient {}", run.coefficient);
  return fmt::format(
      "{}, {} layers, {} experts, top-{}, hidden {}, {} tokens per step, {} steps, learning rate "
      "{} "
      "after {} steps of warm-up, {} of it at the end, seed {}",
      text, run.layers, run.experts, run.top_k, run.hidden, run.tokens_per_step, run.steps,
      run.learning_rate, run.warmup_steps, run.last_share, run.seed);
}

}  // namespace sim
