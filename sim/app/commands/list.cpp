// simulate list: what there is to choose from.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "analysis/query.h"
#include "analysis/summary.h"
#include "sim/app/catalog.h"
#include "sim/app/commands/commands.h"
#include "sim/core/error.h"
#include "sim/input/suggestion.h"
#include "sim/policies/collectives/collective.h"
#include "sim/policies/collectives/exchange.h"
#include "sim/policies/placement/placement.h"
#include "sim/policies/placement/replica_split.h"
#include "sim/policies/schedules/layer_schedule.h"
#include "sim/policies/schedules/pipeline_schedule.h"
#include "sim/workloads/linear_costs.h"
#include "topologies/generators.h"
#include "traces/gating/balance_terms.h"
#include "traces/gating/gating.h"
#include "traces/gating/overflow.h"
#include "traces/import/import.h"
#include "traces/metrics/trace_metrics.h"
#include "traces/replay.h"
#include "traces/synthetic/workloads.h"

namespace sim {
namespace {

struct Row {
  std::string family;
  std::string name;
  std::string help;
  std::vector<std::pair<std::string, std::string>> more = {};  // name and text, a line each
};

template <class Table>
void add_table(std::vector<Row>& rows, const char* family, const Table& table) {
  for (const auto& entry : table)
    rows.push_back({family, std::string(entry.name), std::string(entry.help)});
}

std::vector<Row> policies() {
  std::vector<Row> rows;
  add_table(rows, "placement.policy", kPlacementPolicies);
  add_table(rows, "placement.replica_split", kReplicaSplits);
  add_table(rows, "communication.dispatch", kExchangeAlgorithms);
  for (const CollectiveAlgorithm& each : kCollectives) {
    rows.push_back({"collective " + std::string(each.operation), std::string(each.name),
                    std::string(each.help)});
  }
  for (const ScheduleInfo& schedule : kPipelineSchedules) {
    rows.push_back({"schedule.pipeline",
                    std::string(schedule.name),
                    std::string(schedule.help),
                    {{"source", std::string(schedule.source)}}});
  }
  for (const LayerPolicy& policy : kLayerPolicies) {
    rows.push_back({"schedule.layer",
                    std::string(policy.name),
                    std::string(policy.help),
                    {{"source", std::string(policy.source)}}});
  }
  add_table(rows, "operations.published", kPublishedCosts);
  add_table(rows, "routing.rule", replay_rules());
  add_table(rows, "routing.adapt", adapt_rules());
  add_table(rows, "routing.workload", kNamedWorkloads);
  add_table(rows, "routing.capacity.priority", overflow_priorities());
  add_table(rows, "routing.capacity.per", capacity_scopes());
  add_table(rows, "cluster generator", cluster_generators());
  add_table(rows, "trace import --format", import_formats());
  add_table(rows, "trace stats --metrics", metric_families());
  for (const GatingFunction& gate : gating_functions()) {
    rows.push_back({"trace synth --gate",
                    std::string(gate.name),
                    std::string(gate.help),
                    {{"keys", std::string(gate.keys)}, {"source", std::string(gate.source)}}});
  }
  for (const BalanceTerm& term : balance_terms()) {
    std::string on_trace(to_text(term.trace_form));
    if (!term.trace_note.empty()) on_trace += ": " + std::string(term.trace_note);
    rows.push_back({"balance term",
                    std::string(term.name),
                    std::string(term.help),
                    {{"on a trace", on_trace}, {"source", std::string(term.source)}}});
  }
  return rows;
}

std::vector<Row> rows_of(const std::string& what) {
  static const std::vector<std::string> kLists = {"models", "clusters", "policies", "scenarios",
                                                  "queries"};
  if (std::find(kLists.begin(), kLists.end(), what) == kLists.end())
    throw Error("there is no list of '" + what + "'", suggest(what, kLists));
  if (what == "policies") return policies();
  std::vector<Row> rows;
  if (what == "queries") {
    add_table(rows, "", named_queries());
    return rows;
  }
  const Catalog catalog;
  const std::vector<CatalogEntry> entries = what == "models"     ? catalog.models()
                                            : what == "clusters" ? catalog.clusters()
                                                                 : catalog.scenarios();
  for (const CatalogEntry& entry : entries) rows.push_back({"", entry.name, entry.summary});
  return rows;
}

void list(const std::string& what, bool json) {
  const std::vector<Row> rows = rows_of(what);
  if (json) {
    nlohmann::ordered_json all = nlohmann::ordered_json::array();
    for (const Row& row : rows) {
      nlohmann::ordered_json object;
      if (!row.family.empty()) object["family"] = row.family;
      object["name"] = row.name;
      object["help"] = row.help;
      for (const auto& [name, text] : row.more) object[name] = text;
      all.push_back(std::move(object));
    }
    std::cout << all.dump(2) << "\n";
    return;
  }
  TextTable table;
  const bool families = !rows.empty() && !rows.front().family.empty();
  if (families) table.add_column("");
  table.add_column("");
  table.add_column("");
  for (const Row& row : rows) {
    if (families) {
      table.add_row({row.family, row.name, row.help});
    } else {
      table.add_row({row.name, row.help});
    }
    for (const auto& [name, text] : row.more) {
      if (!text.empty()) table.add_row({"", "", "  " + name + ": " + text});
    }
  }
  std::cout << table.text(100);
}

}  // namespace

void attach_list(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("list", "models, clusters, policies, scenarios and queries there are");
  auto what = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  command->add_option("what", *what, "models | clusters | policies | scenarios | queries")
      ->required();
  command->add_flag("--json", *json, "as JSON");
  command->callback([what, json] { list(*what, *json); });
}

}  // namespace sim
