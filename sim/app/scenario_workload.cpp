#include "sim/app/scenario_workload.h"

#include <algorithm>
#include <cmath>

#include "sim/core/error.h"

namespace sim {
namespace {

constexpr std::int64_t kMostSteps = 1'000'000;

// Three digits are enough to show a default; what runs is not rounded.
double shown(double value) { return std::round(value * 1000) / 1000; }

// What the parameters that are not given come to; nothing where there is no telling.
std::optional<ResolvedWorkload> resolved(WorkloadSpec spec, const Routing* routing) {
  if (routing == nullptr) return std::nullopt;
  spec.intensity.reset();
  try {
    return resolve(spec, static_cast<int>(routing->experts), static_cast<int>(routing->top_k));
  } catch (const Error&) {
    return std::nullopt;  // told when the whole spec is resolved
  }
}

}  // namespace

WorkloadSpec read_named_workload(YamlMap& map, const Routing* routing,
                                 const ParallelLayout& layout) {
  std::vector<std::string> names;
  for (const NamedWorkload& each : kNamedWorkloads) names.emplace_back(each.name);
  const std::string name = map.choice("workload", names);
  WorkloadSpec spec;
  spec.expert_ranks = std::max(1, layout.ep);
  if (std::find(names.begin(), names.end(), name) == names.end()) return spec;
  const NamedWorkload& workload = find_workload(name);
  spec.workload = workload.workload;
  const auto count = [&](const char* key, std::int64_t fallback, std::int64_t most) {
    return static_cast<int>(map.count_or(key, fallback, {0, most}));
  };
  if (workload.has("rank")) spec.rank = count("rank", 0, spec.expert_ranks - 1);
  if (workload.has("period")) spec.period = count("period", spec.period, kMostSteps);
  if (workload.has("calm_steps")) {
    spec.calm_steps = count("calm_steps", spec.calm_steps, kMostSteps);
    spec.burst_steps = count("burst_steps", spec.burst_steps, kMostSteps);
  }
  std::optional<ResolvedWorkload> defaults = resolved(spec, routing);
  if (workload.has("idle_ranks")) {
    const int ranks = count("idle_ranks", spec.expert_ranks / 2, spec.expert_ranks);
    if (map.has("idle_ranks")) spec.idle_ranks = ranks;
  }
  if (workload.has("hot_experts")) {
    const int hot = count("hot_experts", defaults ? defaults->hot_experts : 1, 65536);
    if (map.has("hot_experts")) spec.hot_experts = hot;
  }
  defaults = resolved(spec, routing);
  if (workload.has("intensity")) {
    const double intensity =
        map.number_or("intensity", defaults ? shown(defaults->intensity) : 1, {0, 1e9});
    if (map.has("intensity")) spec.intensity = intensity;
  }
  spec.token_budget = map.count_or("token_budget", spec.token_budget, {0, 1LL << 40});
  if (routing == nullptr) return spec;
  try {
    resolve(spec, static_cast<int>(routing->experts), static_cast<int>(routing->top_k));
    tokens_of_ranks(spec, std::vector<std::int64_t>(static_cast<std::size_t>(layout.world), 1));
  } catch (const Error& error) {
    const Mistake& mistake = error.mistakes().front();
    map.mistake("workload", mistake.message, mistake.hint);
  }
  return spec;
}

}  // namespace sim
