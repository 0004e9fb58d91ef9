// simulate cluster show: what a cluster is made of, and on whose word.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "sim/app/catalog.h"
#include "sim/app/commands/commands.h"
#include "topologies/cluster_summary.h"

namespace sim {
namespace {

struct ShowArguments {
  std::string cluster;
  std::vector<std::string> set;
  bool json = false;
};

// Mistakes stand where the user typed them: the cluster's name, or --set of one of its keys.
std::vector<Mistake> as_typed(std::vector<Mistake> mistakes) {
  const std::string prefix = "--set cluster.";
  for (Mistake& mistake : mistakes) {
    std::string& file = mistake.place.file;
    if (file.rfind(prefix, 0) != 0) continue;
    file = file == prefix + "use" ? "" : "--set " + file.substr(prefix.size());
  }
  return mistakes;
}

void show(const ShowArguments& arguments) {
  const Catalog catalog;
  const std::unique_ptr<YamlDocument> document = YamlDocument::parse("cluster: {}", "cluster");
  document->set("cluster.use=" + arguments.cluster);
  for (const std::string& assignment : arguments.set) document->set("cluster." + assignment);
  Mistakes mistakes;
  YamlMap root(document->root(), "the command line", mistakes);
  const Cluster cluster = read_cluster(root.child("cluster"), catalog.cluster_lookup(), mistakes);
  if (!mistakes.empty()) throw Error(as_typed(mistakes.list()));
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
  CLI::App* command = app.add_subcommand("cluster", "look at a cluster: show");
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
}

}  // namespace sim
