// simulate cluster show: what a cluster is made of, and on whose word. (import: cluster_import.cpp)
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "sim/app/catalog.h"
#include "sim/app/cluster_choice.h"
#include "sim/app/commands/commands.h"
#include "topologies/cluster_summary.h"

namespace sim {
namespace {

struct ShowArguments {
  std::string cluster;
  std::vector<std::string> set;
  bool json = false;
};

void show(const ShowArguments& arguments) {
  const Catalog catalog;
  const Cluster cluster = choose_cluster(catalog, arguments.cluster, arguments.set);
  if (!arguments.json) {
    std::cout << describe(cluster);
    return;
  }
  nlohmann::ordered_json json;
  json["name"] = cluster.name;
  json["nodes"] = cluster.node_count();
  json["gpus"] = cluster.device_count();
  json["links"] = nlohmann::ordered_json::array();
  for (const Link& link : cluster.links) {
    json["links"].push_back({{"name", link.name},
                             {"from", cluster.vertex_names[link.from.index()]},
                             {"to", cluster.vertex_names[link.to.index()]},
                             {"kind", to_text(link.kind)},
                             {"capacity_bytes_per_s", link.capacity.count()},
                             {"latency_s", to_seconds(link.latency)}});
  }
  std::cout << json.dump(2) << "\n";
}

}  // namespace

void attach_cluster(CLI::App& app) {
  CLI::App* command = app.add_subcommand("cluster", "look at a cluster or make one: show, import");
  command->require_subcommand(1);
  CLI::App* shown =
      command->add_subcommand("show", "its nodes, links, constants and their sources");
  auto arguments = std::make_shared<ShowArguments>();
  shown
      ->add_option("cluster", arguments->cluster,
                   "a name from `simulate list clusters`, a generator or a YAML file")
      ->required();
  shown->add_option("--set", arguments->set, "a parameter: --set nodes=4")
      ->take_all()
      ->allow_extra_args(false);
  shown->add_flag("--json", arguments->json, "every link as JSON");
  shown->callback([arguments] { show(*arguments); });
  attach_cluster_import(*command);
}

}  // namespace sim
