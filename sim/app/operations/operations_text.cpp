// What people read of a scenario of kind `operations`, and its JSON.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "analysis/summary.h"
#include "sim/app/operations/operations_run.h"
#include "sim/app/simulation.h"

namespace sim {
namespace {

constexpr int kBarWidth = 30;

std::string head(const OperationsScenario& scenario) {
  const std::size_t count = scenario.configurations.size();
  std::string text =
      fmt::format("{} layer{} of {}\n", scenario.layers, scenario.layers == 1 ? "" : "s",
                  scenario.given_times ? "given operation times"
                  : count == 1         ? scenario.configurations.front().name
                                       : fmt::format("{} configurations", count));
  text += fmt::format("  costs     {}{}: {}\n", scenario.given_times ? "start-ups of " : "",
                      scenario.costs->name, scenario.costs->help);
  text += fmt::format("  schedule  {}: {}\n", scenario.policy->name, scenario.policy->help);
  if (scenario.baseline != nullptr)
    text += fmt::format("  against   {}: {}\n", scenario.baseline->name, scenario.baseline->help);
  return text;
}

const ConfigurationOutcome& first(const OperationsOutcome& outcome) {
  return outcome.configurations.front();
}

double metric(const OperationsOutcome& outcome, std::string_view name) {
  const auto found = std::find_if(outcome.metrics.begin(), outcome.metrics.end(),
                                  [name](const MetricRecord& each) { return each.name == name; });
  return found->value;
}

}  // namespace

std::string operations_text(const OperationsScenario& scenario, const OperationsOutcome& outcome) {
  const bool one = outcome.configurations.size() == 1;
  const auto time = [&](std::string_view name) {
    return format_duration(duration_from_seconds(metric(outcome, name)));
  };
  std::string text = head(scenario);
  text += fmt::format("\nstep time   {}{}, forward {}, backward {}\n", time("step_time_s"),
                      one ? "" : " on average", time("forward_time_s"), time("backward_time_s"));
  if (one) {
    text += fmt::format("chunks      {} forward, {} backward{}\n", first(outcome).forward_degree,
                        first(outcome).backward_degree, scenario.degree ? "" : " (searched)");
  } else {
    text +=
        fmt::format("chunks      {:.1f} forward, {:.1f} backward on average; they differ in {}\n",
                    metric(outcome, "forward_degree"), metric(outcome, "backward_degree"),
                    percent(metric(outcome, "degrees_differ_fraction")));
  }
  text += fmt::format("exposed     {} of the step computes nothing\n",
                      percent(metric(outcome, "exposed_communication_fraction")));
  if (scenario.baseline != nullptr) {
    text += one ? fmt::format("speedup     {:.3f} over {} ({})\n", metric(outcome, "speedup_mean"),
                              scenario.baseline->name, time("baseline_step_time_s"))
                : fmt::format("speedup     {:.3f} over {} on average, {:.3f} to {:.3f}\n",
                              metric(outcome, "speedup_mean"), scenario.baseline->name,
                              metric(outcome, "speedup_least"), metric(outcome, "speedup_most"));
  }
  double all = 0;
  std::vector<CauseRecord> causes = outcome.causes;
  std::stable_sort(causes.begin(), causes.end(), [](const CauseRecord& a, const CauseRecord& b) {
    return a.duration > b.duration;
  });
  for (const CauseRecord& cause : causes) all += to_seconds(cause.duration);
  text += "\nThe critical path by cause\n";
  TextTable table;
  table.add_column("");
  table.add_column("", Align::kRight);
  table.add_column("", Align::kRight);
  table.add_column("");
  for (const CauseRecord& cause : causes) {
    const double share = to_seconds(cause.duration) / all;
    table.add_row(
        {"  " + cause.cause,
         format_duration(duration_from_seconds(to_seconds(cause.duration) /
                                               static_cast<double>(outcome.configurations.size()))),
         percent(share), share_bar(share, kBarWidth)});
  }
  return text + table.text() + "All of it rests on published costs.\n";
}

std::string operations_json(const OperationsScenario& scenario, const OperationsOutcome& outcome) {
  nlohmann::ordered_json json;
  json["name"] = scenario.name;
  json["version"] = kVersion;
  json["fingerprint"] = outcome.fingerprint;
  if (outcome.run_id > 0) json["run_id"] = outcome.run_id;
  for (const MetricRecord& each : outcome.metrics) json["metrics"][each.name] = each.value;
  for (const CauseRecord& cause : outcome.causes)
    json["causes_ps"][cause.cause] = cause.duration.count();
  json["configurations"] = nlohmann::ordered_json::array();
  for (const ConfigurationOutcome& each : outcome.configurations) {
    nlohmann::ordered_json row = {{"name", each.name},
                                  {"step_time_s", to_seconds(each.total)},
                                  {"forward_time_s", to_seconds(each.forward)},
                                  {"forward_degree", each.forward_degree},
                                  {"backward_degree", each.backward_degree}};
    if (scenario.baseline != nullptr) row["baseline_step_time_s"] = to_seconds(each.baseline);
    json["configurations"].push_back(std::move(row));
  }
  return json.dump(2) + "\n";
}

std::string operations_check_text(const OperationsScenario& scenario) {
  std::string text = head(scenario) + "\nOperations of one layer";
  text += scenario.configurations.size() > 1 ? " of the first configuration\n" : "\n";
  TextTable table;
  table.add_column("");
  table.add_column("forward", Align::kRight);
  table.add_column("backward", Align::kRight);
  const LayerOperations& operations = scenario.configurations.front().operations;
  for (std::size_t i = 0; i < kLayerOperationNames.size(); ++i) {
    const auto time = [](const OperationCost& cost) {
      return cost.whole_s() > 0 ? format_duration(duration_from_seconds(cost.whole_s())) : "-";
    };
    table.add_row({"  " + std::string(kLayerOperationNames[i]), time(operations.forward[i]),
                   time(operations.backward[i])});
  }
  text += table.text() + "\nKeys\n";
  TextTable keys;
  for (int column = 0; column < 3; ++column) keys.add_column("");
  for (const ReadKey& key : scenario.keys)
    if (!key.value.empty()) keys.add_row({"  " + key.path, key.value, key.given ? "" : "default"});
  return text + keys.text(60) + "\nThis scenario can run.\n";
}

std::string operations_check_json(const OperationsScenario& scenario) {
  nlohmann::ordered_json json;
  json["configurations"] = scenario.configurations.size();
  for (const ReadKey& key : scenario.keys)
    if (!key.value.empty()) json["keys"][key.path] = {{"value", key.value}, {"given", key.given}};
  return json.dump(2) + "\n";
}

}  // namespace sim
