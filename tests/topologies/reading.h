// Clusters out of a few words of YAML, and the mistakes in them.
#pragma once

#include <string>
#include <vector>

#include "sim/input/yaml_reader.h"
#include "topologies/cluster_reader.h"
#include "topologies/routes.h"

namespace sim::testing {

inline CatalogLookup catalog() {
  return catalog_in(std::string(MOE_SOURCE_DIR) + "/topologies/catalog");
}

// Throws Error with every mistake.
inline Cluster cluster_of(const std::string& yaml) {
  const auto document = YamlDocument::parse(yaml, "test.yaml");
  Mistakes mistakes;
  Cluster cluster = read_cluster(document->root(), catalog(), mistakes);
  mistakes.throw_if_any();
  return cluster;
}

inline std::string mistakes_of(const std::string& yaml) {
  try {
    cluster_of(yaml);
  } catch (const Error& error) {
    return error.what();
  }
  return "none";
}

// Names of the links of a route.
inline std::vector<std::string> hops(const Cluster& cluster, int source, int destination,
                                     int path = 0) {
  Routes routes(cluster);
  std::vector<std::string> names;
  for (const LinkId link : routes.route(DeviceId(source), DeviceId(destination), path).links) {
    names.push_back(cluster.links[link.index()].name);
  }
  return names;
}

inline const Link& link_named(const Cluster& cluster, const std::string& name) {
  for (const Link& link : cluster.links) {
    if (link.name == name) return link;
  }
  throw Error("no link is called " + name);
}

}  // namespace sim::testing
