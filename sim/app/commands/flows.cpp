// simulate flows: raw transfers over raw links, without tasks or kernels: when does each one end?
#include <sys/resource.h>
#include <CLI/CLI.hpp>

#include <array>
#include <cmath>
#include <ctime>
#include <filesystem>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "analysis/summary.h"
#include "sim/app/catalog.h"
#include "sim/app/cluster_choice.h"
#include "sim/app/commands/commands.h"
#include "sim/core/error.h"
#include "sim/workloads/flows/flow_scenario.h"
#include "sim/workloads/flows/flow_table.h"

namespace sim {
namespace {

struct FlowsArguments {
  std::string scenario, scenario_out;     // the text format
  std::string cluster, flows, table_out;  // a CSV file over a cluster
  std::vector<std::string> set;
  double window = 0;
  bool json = false;
};

struct Outcome {
  std::size_t flows = 0;
  std::size_t links = 0;
  FlowTimes times;
  double lower_bound_s = 0;
  double window = 0;  // 0: exact
  double read_cpu_s = 0;
  double solve_cpu_s = 0;
};

double cpu_seconds() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

std::int64_t peak_memory_bytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * std::int64_t{1024};
}

void refuse_same_file(const std::string& in, const std::string& out) {
  std::error_code ignored;
  if (std::filesystem::equivalent(in, out, ignored) && std::filesystem::is_regular_file(out)) {
    throw Error(Place{out}, "the result would be written over the flows it is made from");
  }
}

void solve(const FlowSet& set, double window, double started_cpu_s, Outcome& outcome) {
  outcome.flows = set.flows.size();
  outcome.links = set.capacities.size();
  outcome.read_cpu_s = cpu_seconds() - started_cpu_s;
  outcome.window = window;
  outcome.times = window > 0 ? solve_flows_by_events(set, window) : solve_flows(set);
  if (!std::isfinite(outcome.times.makespan_s)) {
    throw Error("a flow takes longer than can be told",
                "are the capacities in bytes per second, and starts and latencies in seconds?");
  }
  outcome.solve_cpu_s = cpu_seconds() - started_cpu_s - outcome.read_cpu_s;
  outcome.lower_bound_s = makespan_lower_bound_s(set);
}

Outcome run_scenario(const FlowsArguments& arguments) {
  refuse_same_file(arguments.scenario, arguments.scenario_out);
  Outcome outcome;
  const double started = cpu_seconds();
  solve(read_flow_scenario(arguments.scenario), arguments.window, started, outcome);
  write_flow_times(arguments.scenario_out, outcome.times.finish_s);
  return outcome;
}

Outcome run_table(const FlowsArguments& arguments) {
  refuse_same_file(arguments.flows, arguments.table_out);
  Outcome outcome;
  const double started = cpu_seconds();
  const Cluster cluster = choose_cluster(Catalog(), arguments.cluster, arguments.set);
  const FlowTable table = read_flow_table(arguments.flows, cluster);
  solve(table.set, arguments.window, started, outcome);
  write_flow_table(arguments.table_out, table, outcome.times.finish_s);
  return outcome;
}

std::string format_seconds(double seconds) {
  char text[64];
  std::snprintf(text, sizeof text, "%.9g s", seconds);
  return text;
}

void print(const Outcome& outcome) {
  TextTable table;
  table.add_column("");
  table.add_column("");
  table.add_row({"flows", std::to_string(outcome.flows)});
  table.add_row({"links", std::to_string(outcome.links)});
  if (outcome.window > 0) {
    char text[96];
    std::snprintf(text, sizeof text, "ends within %g of their time settled together",
                  outcome.window);
    table.add_row({"approximate", text});
  }
  table.add_row({"makespan", format_seconds(outcome.times.makespan_s)});
  table.add_row({"lower bound", format_seconds(outcome.lower_bound_s) +
                                    ", the busiest link's bytes over its capacity"});
  table.add_row({"level changes", std::to_string(outcome.times.level_changes)});
  char cpu[96];
  std::snprintf(cpu, sizeof cpu, "%.4f s reading, %.4f s solving", outcome.read_cpu_s,
                outcome.solve_cpu_s);
  table.add_row({"cpu", cpu});
  table.add_row({"peak memory", format_bytes(Bytes(peak_memory_bytes()))});
  std::cout << table.text(80);
}

void print_json(const Outcome& outcome) {
  const nlohmann::ordered_json row = {{"flows", outcome.flows},
                                      {"links", outcome.links},
                                      {"makespan_s", outcome.times.makespan_s},
                                      {"lower_bound_s", outcome.lower_bound_s},
                                      {"window", outcome.window},
                                      {"level_changes", outcome.times.level_changes},
                                      {"read_cpu_s", outcome.read_cpu_s},
                                      {"solve_cpu_s", outcome.solve_cpu_s},
                                      {"peak_memory_bytes", peak_memory_bytes()}};
  std::cout << nlohmann::ordered_json::array({row}).dump(2) << "\n";
}

void flows(const FlowsArguments& arguments) {
  const bool text = !arguments.scenario.empty();
  const bool table = !arguments.cluster.empty() || !arguments.flows.empty() ||
                     !arguments.table_out.empty() || !arguments.set.empty();
  constexpr const char* kForms =
      "`simulate flows SCENARIO.txt OUT.txt` or `simulate flows --cluster NAME --flows FILE.csv "
      "--out FILE.csv`";
  if (text == table) {
    throw Error(text ? "a scenario file has its own links: --cluster, --set, --flows and --out do "
                       "not go with it"
                     : "no flows are named",
                kForms);
  }
  if (text && arguments.scenario_out.empty()) {
    throw Error("the file for the results is missing", kForms);
  }
  if (table) {
    const std::array<std::pair<const char*, const std::string*>, 3> needed = {
        {{"--cluster", &arguments.cluster},
         {"--flows", &arguments.flows},
         {"--out", &arguments.table_out}}};
    for (const auto& [name, value] : needed) {
      if (value->empty()) throw Error(std::string(name) + " is missing", kForms);
    }
  }
  const Outcome outcome = text ? run_scenario(arguments) : run_table(arguments);
  if (arguments.json) {
    print_json(outcome);
  } else {
    print(outcome);
  }
}

}  // namespace

void attach_flows(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "flows",
      "raw transfers, exact max-min sharing: when does each one end?\n"
      "  simulate flows SCENARIO.txt OUT.txt            links, routes and flows in one text file\n"
      "  simulate flows --cluster NAME --flows FILE.csv --out FILE.csv\n"
      "                                                 src,dst,bytes,start_s over a cluster");
  auto arguments = std::make_shared<FlowsArguments>();
  command->add_option("scenario", arguments->scenario, "the text format of raw flows");
  command->add_option("out_text", arguments->scenario_out, "lines: flow_index completion_time_s");
  command->add_option("--cluster", arguments->cluster,
                      "a name from `simulate list clusters`, a generator or a YAML file");
  command->add_option("--set", arguments->set, "a parameter of the cluster: --set nodes=4")
      ->take_all()
      ->allow_extra_args(false);
  command->add_option("--flows", arguments->flows,
                      "CSV: src,dst,bytes,start_s[,weight][,cap_bytes_per_s]");
  command->add_option("--out", arguments->table_out, "the same rows with finish_s");
  command
      ->add_option("--window", arguments->window,
                   "approximate and faster: settle ends within this share of their time together")
      ->check(CLI::Range(1e-9, 0.5));
  command->add_flag("--json", arguments->json, "the summary as JSON");
  command->callback([arguments] { flows(*arguments); });
}

}  // namespace sim
