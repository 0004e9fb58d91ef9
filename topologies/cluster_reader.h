// The scenario's `cluster:` value -> a Cluster.
//
//   cluster: hgx-h100                                  # catalog name, or a path to a YAML file
//   cluster: {use: hgx-h100, nodes: 9, spraying: ideal}   # `use`: the same, or a generator
//
// The other keys override the parameters of what is used; in the file of a cluster the base is
// `generator: NAME` (or again `use:`).
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "sim/input/yaml_reader.h"
#include "topologies/cluster.h"

namespace sim {

// Where the ready clusters are; this folder knows no path of its own.
struct CatalogLookup {
  std::function<std::optional<std::string>(std::string_view name)> file;  // empty: no catalog
  std::vector<std::string> names;                                         // for suggestions
};

// Every *.yaml of a folder by its name without the ending; an absent folder is an empty catalog.
CatalogLookup catalog_in(const std::string& folder);

// Records every mistake; the result is then not to be used. The cluster is validated. A name is
// taken as a path when it has a '/' or ends with .yaml or .yml, or when such a file exists (from
// the working directory, then beside the file that names it).
Cluster read_cluster(YamlNode node, const CatalogLookup& lookup, Mistakes& mistakes);

// The file of a cluster as a whole. Throws Error with every mistake.
Cluster load_cluster(const std::string& file, const CatalogLookup& lookup);

}  // namespace sim
