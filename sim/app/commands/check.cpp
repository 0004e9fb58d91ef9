// simulate check: parse, resolve, memory fit; every mistake at once; nothing runs.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "analysis/summary.h"
#include "sim/app/commands/commands.h"
#include "sim/app/kernel_outlook.h"
#include "sim/app/operations/operations_run.h"
#include "sim/app/run_setup.h"
#include "sim/app/scenario_document.h"
#include "sim/app/summary_text.h"

namespace sim {
namespace {

struct CheckArguments {
  std::string scenario;
  std::vector<std::string> set;
  std::optional<std::string> seed;
  bool json = false;
};

std::string ranks_text(const std::vector<DeviceId>& devices) {
  if (devices.size() == 1) return "0";
  return std::to_string(devices.front().value()) + ".." + std::to_string(devices.back().value());
}

// Whose constants price the first step of gpu 0, its experts balanced.
void print_kernels(const Scenario& scenario) {
  std::cout << "\nKernels of gpu 0, experts balanced: one step, of training the forward pass of "
               "one micro-batch over all layers\n";
  TextTable table;
  for (int column = 0; column < 4; ++column) {
    table.add_column("", column == 3 ? Align::kRight : Align::kLeft);
  }
  std::string outside;
  for (const KernelOutlook& each : kernel_outlook(scenario)) {
    table.add_row({"  " + each.kernel, each.source, std::string(to_text(each.label)),
                   format_duration(each.time)});
    if (each.outside == Duration(0)) continue;
    outside += fmt::format("note: {} of {} lie outside the calibrated range: {}\n",
                           format_duration(each.outside), each.kernel,
                           fmt::join(each.outside_names, ", "));
  }
  std::cout << table.text() << outside;
}

// The first of the GPUs with the most memory held.
std::size_t fullest(const std::vector<std::vector<MemoryItem>>& memory) {
  std::size_t most = 0;
  for (std::size_t r = 1; r < memory.size(); ++r) {
    if (total(memory[r]) > total(memory[most])) most = r;
  }
  return most;
}

void print_text(const Scenario& scenario, const std::vector<std::vector<MemoryItem>>& memory) {
  std::cout << scenario_text(scenario) << "\n";
  std::cout << "Groups of rank 0\n  tp " << ranks_text(scenario.layout.tp_devices(0)) << ", ep "
            << ranks_text(scenario.layout.ep_devices(0)) << "\n\nMemory of gpu " << fullest(memory)
            << "\n";
  TextTable items;
  items.add_column("");
  items.add_column("", Align::kRight);
  for (const MemoryItem& item : memory[fullest(memory)])
    items.add_row({"  " + item.name, format_bytes(item.bytes)});
  const Device& device =
      scenario.device_types.at(scenario.cluster.devices[fullest(memory)].device_type);
  items.add_row({"  together, of " + format_bytes(device.memory_capacity),
                 format_bytes(total(memory[fullest(memory)]))});
  std::cout << items.text();
  print_kernels(scenario);
  std::cout << "\nKeys\n";
  TextTable keys;
  keys.add_column("");
  keys.add_column("");
  keys.add_column("");
  for (const ReadKey& key : scenario.keys) {
    if (!key.value.empty()) keys.add_row({"  " + key.path, key.value, key.given ? "" : "default"});
  }
  std::cout << keys.text(60);
  for (const std::string& warning : scenario.warnings) std::cout << "warning: " << warning << "\n";
  std::cout << "\nThis scenario can run.\n";
}

void print_json(const Scenario& scenario, const std::vector<std::vector<MemoryItem>>& memory) {
  nlohmann::ordered_json json;
  const ParallelLayout& layout = scenario.layout;
  json["parallel"] = {{"world", layout.world},
                      {"tp", layout.tp},
                      {"dp", layout.dp},
                      {"ep", layout.ep},
                      {"edp", layout.edp}};
  json["memory_of_gpu"] = fullest(memory);
  for (const MemoryItem& item : memory[fullest(memory)])
    json["memory_bytes"][item.name] = item.bytes.count();
  for (const ReadKey& key : scenario.keys) {
    if (!key.value.empty()) json["keys"][key.path] = {{"value", key.value}, {"given", key.given}};
  }
  json["kernels"] = nlohmann::ordered_json::array();
  for (const KernelOutlook& each : kernel_outlook(scenario)) {
    json["kernels"].push_back({{"kernel", each.kernel},
                               {"source", each.source},
                               {"label", to_text(each.label)},
                               {"time_s", to_seconds(each.time)},
                               {"outside_calibrated_range_s", to_seconds(each.outside)}});
  }
  json["warnings"] = scenario.warnings;
  std::cout << json.dump(2) << "\n";
}

void check(const CheckArguments& arguments) {
  const Catalog catalog;
  const std::unique_ptr<YamlDocument> document =
      load_scenario(arguments.scenario, {arguments.set, arguments.seed}, catalog);
  if (is_operations_scenario(*document)) {
    const OperationsScenario operations = read_operations_scenario(*document);
    std::cout << (arguments.json ? operations_check_json(operations)
                                 : operations_check_text(operations));
    return;
  }
  const Scenario scenario = read_scenario(*document, catalog);
  check_routing(scenario);
  const std::vector<std::vector<MemoryItem>> memory = check_memory(scenario);
  if (arguments.json) {
    print_json(scenario, memory);
  } else {
    print_text(scenario, memory);
  }
}

}  // namespace

void attach_check(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "check", "report every mistake of a scenario, its groups, memory and defaults");
  auto arguments = std::make_shared<CheckArguments>();
  command
      ->add_option("scenario", arguments->scenario,
                   "a YAML file, or a name from `simulate list scenarios`")
      ->required();
  command->add_option("--set", arguments->set, "override a key: --set workload.steps=5")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--seed", arguments->seed, "the seed, instead of the scenario's");
  command->add_flag("--json", arguments->json, "as JSON");
  command->callback([arguments] { check(*arguments); });
}

}  // namespace sim
