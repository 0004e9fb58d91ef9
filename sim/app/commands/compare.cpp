// simulate compare: two runs of a results database, metric by metric and cause by cause.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cmath>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "analysis/comparison.h"
#include "analysis/summary.h"
#include "sim/app/commands/commands.h"
#include "sim/app/scenario_difference.h"

namespace sim {
namespace {

std::string number(std::optional<double> value) {
  return value ? fmt::format("{:.6g}", *value) : "-";
}

std::string ratio(const ComparedValue& value) {
  if (!value.a || !value.b || *value.a == 0) return "-";
  return fmt::format("{:.3f}", *value.b / *value.a);
}

// Microseconds with a sign: a difference reads "+12.3" or "-4".
std::string microseconds(std::optional<double> seconds, bool sign) {
  if (!seconds) return "-";
  return sign ? fmt::format("{:+.3f}", *seconds * 1e6) : fmt::format("{:.3f}", *seconds * 1e6);
}

std::string run_line(char side, const ComparedRun& run) {
  return fmt::format("{}  run {}, {}: {} of {} on {}, {} steps{}{}\n", side, run.run_id, run.name,
                     run.kind, run.model, run.cluster, run.steps,
                     run.fingerprint ? ", fingerprint " + *run.fingerprint : "",
                     run.fingerprint ? "" : " (not finished: no metrics)");
}

std::string text(const RunComparison& comparison, const std::vector<KeyDifference>& keys) {
  std::string out = run_line('A', comparison.a) + run_line('B', comparison.b);
  if (comparison.a.version != comparison.b.version) {
    out += fmt::format("made by versions {} and {}\n", comparison.a.version, comparison.b.version);
  }
  if (comparison.a.fingerprint && comparison.a.fingerprint == comparison.b.fingerprint)
    out += "equal fingerprints: the same results\n";
  TextTable scenario;
  for (const char* name : {"key of the scenario", "A", "B"}) scenario.add_column(name);
  for (const KeyDifference& each : keys)
    scenario.add_row({each.key, each.a.empty() ? "-" : each.a, each.b.empty() ? "-" : each.b});
  out += keys.empty() ? "\nthe scenarios say the same\n" : "\n" + scenario.text(60);

  TextTable metrics;
  metrics.add_column("metric");
  for (const char* name : {"A", "B", "B - A", "B / A"}) metrics.add_column(name, Align::kRight);
  metrics.add_column("unit");
  for (const ComparedValue& each : comparison.metrics) {
    std::optional<double> difference;
    if (each.a && each.b) difference = *each.b - *each.a;
    metrics.add_row(
        {each.name, number(each.a), number(each.b), number(difference), ratio(each), each.unit});
  }
  out += "\n" + metrics.text();

  TextTable causes;
  causes.add_column("critical path, us per step");
  for (const char* name : {"A", "B", "B - A"}) causes.add_column(name, Align::kRight);
  ComparedValue sum{"step (all causes)", "s", 0.0, 0.0};
  for (const ComparedValue& each : comparison.causes) {
    *sum.a += each.a.value_or(0);
    *sum.b += each.b.value_or(0);
    causes.add_row({each.name, microseconds(each.a, false), microseconds(each.b, false),
                    microseconds(each.b.value_or(0) - each.a.value_or(0), true)});
  }
  causes.add_row({sum.name, microseconds(sum.a, false), microseconds(sum.b, false),
                  microseconds(*sum.b - *sum.a, true)});
  return out + "\n" + causes.text();
}

nlohmann::ordered_json to_json(const ComparedRun& run) {
  nlohmann::ordered_json json = {{"run_id", run.run_id},   {"name", run.name},
                                 {"kind", run.kind},       {"model", run.model},
                                 {"cluster", run.cluster}, {"steps", run.steps},
                                 {"version", run.version}, {"fingerprint", nullptr}};
  if (run.fingerprint) json["fingerprint"] = *run.fingerprint;
  return json;
}

nlohmann::ordered_json to_json(const std::vector<ComparedValue>& values) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const ComparedValue& each : values) {
    nlohmann::ordered_json json = {
        {"name", each.name}, {"unit", each.unit}, {"a", nullptr}, {"b", nullptr}};
    if (each.a) json["a"] = *each.a;
    if (each.b) json["b"] = *each.b;
    list.push_back(std::move(json));
  }
  return list;
}

struct CompareArguments {
  std::string database;
  std::int64_t a = 0;
  std::int64_t b = 0;
  bool json = false;
};

void compare(const CompareArguments& arguments) {
  const RunComparison comparison = compare_runs(arguments.database, arguments.a, arguments.b);
  const std::vector<KeyDifference> keys =
      scenario_difference(comparison.a.scenario, comparison.b.scenario);
  if (!arguments.json) {
    std::cout << text(comparison, keys);
    return;
  }
  nlohmann::ordered_json scenario = nlohmann::ordered_json::array();
  for (const KeyDifference& each : keys)
    scenario.push_back({{"key", each.key}, {"a", each.a}, {"b", each.b}});
  const nlohmann::ordered_json all = {{"a", to_json(comparison.a)},
                                      {"b", to_json(comparison.b)},
                                      {"scenario", std::move(scenario)},
                                      {"metrics", to_json(comparison.metrics)},
                                      {"causes", to_json(comparison.causes)}};
  std::cout << all.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
}

}  // namespace

void attach_compare(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "compare", "two runs of a results database: what differs in keys, metrics and causes");
  auto arguments = std::make_shared<CompareArguments>();
  command->add_option("database", arguments->database, "what `simulate run --results` wrote")
      ->required();
  command->add_option("run_a", arguments->a, "a run_id (`simulate query FILE runs`)")->required();
  command->add_option("run_b", arguments->b, "another one")->required();
  command->add_flag("--json", arguments->json, "as JSON, times in seconds");
  command->callback([arguments] { compare(*arguments); });
}

}  // namespace sim
