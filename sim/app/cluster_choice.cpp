#include "sim/app/cluster_choice.h"

#include <memory>

#include "sim/app/device_choice.h"
#include "sim/core/error.h"
#include "sim/input/yaml_reader.h"
#include "topologies/cluster_reader.h"

namespace sim {
namespace {

constexpr const char* kDocument = "(command line)";

// Mistakes stand where the user typed them: the cluster's name, or --set of one of its keys.
std::vector<Mistake> as_typed(const std::string& name, std::vector<Mistake> mistakes) {
  const std::string prefix = "--set cluster.";
  for (Mistake& mistake : mistakes) {
    std::string& file = mistake.place.file;
    if (file == kDocument) mistake.place = Place{name};
    if (file.rfind(prefix, 0) != 0) continue;
    file = file == prefix + "use" ? "" : "--set " + file.substr(prefix.size());
  }
  return mistakes;
}

Cluster read(const Catalog& catalog, const std::string& name,
             const std::vector<std::string>& assignments) {
  const std::unique_ptr<YamlDocument> document = YamlDocument::parse("cluster: {}", kDocument);
  document->set("cluster.use=" + name);
  for (const std::string& assignment : assignments) document->set("cluster." + assignment);
  Mistakes mistakes;
  YamlMap root(document->root(), "the command line", mistakes);
  Cluster cluster = read_cluster(root.child("cluster"), catalog.cluster_lookup(), mistakes);
  if (!mistakes.empty()) throw Error(as_typed(name, mistakes.list()));
  return cluster;
}

}  // namespace

Cluster choose_cluster(const Catalog& catalog, const std::string& name,
                       const std::vector<std::string>& assignments, std::optional<int> nodes) {
  Cluster cluster = read(catalog, name, assignments);
  if (!nodes || cluster.node_count() >= *nodes) return cluster;
  for (const std::string& assignment : assignments) {
    if (assignment.rfind("nodes=", 0) != 0) continue;
    throw Error(Place{"--nodes"}, "--set nodes makes a cluster of " +
                                      std::to_string(cluster.node_count()) + ", and " +
                                      std::to_string(*nodes) + " are asked for");
  }
  std::vector<std::string> larger = assignments;
  larger.push_back("nodes=" + std::to_string(*nodes));
  try {
    return read(catalog, name, larger);
  } catch (const Error& error) {
    std::vector<Mistake> mistakes = error.mistakes();
    for (Mistake& mistake : mistakes) {
      if (mistake.place.file == "--set nodes") mistake.place.file = "--nodes";
    }
    throw Error(std::move(mistakes));
  }
}

DeviceTypes::DeviceTypes(const Cluster& cluster, const Catalog& catalog) {
  for (const ClusterDevice& device : cluster.devices) {
    auto at = types_.find(device.device_type);
    if (at == types_.end()) {
      at = types_.emplace(device.device_type, load_device(catalog, device.device_type)).first;
    }
    of_devices_.push_back(&at->second);
  }
}

}  // namespace sim
