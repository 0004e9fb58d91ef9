// Ready shapes of clusters, by name.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "topologies/cluster.h"
#include "topologies/parameters.h"

namespace sim {

struct ClusterGenerator {
  std::string_view name;
  std::string_view help;  // one line
  // Reads its keys and builds. Mistakes are recorded in the parameters, and then the cluster is
  // empty. Reads neither `communication` nor `collectives`; does not finish() the parameters.
  Cluster (*build)(ClusterParameters& parameters);
  std::string_view example;  // the smallest useful parameters, as YAML
};

std::span<const ClusterGenerator> cluster_generators();
const ClusterGenerator* find_cluster_generator(std::string_view name);  // null: no such name
std::vector<std::string> cluster_generator_names();

// One file each in generators/.
Cluster build_single_switch(ClusterParameters& parameters);
Cluster build_hgx(ClusterParameters& parameters);
Cluster build_pcie_box(ClusterParameters& parameters);
Cluster build_nvlink_domain(ClusterParameters& parameters);
Cluster build_torus_2d(ClusterParameters& parameters);
Cluster build_node_graph(ClusterParameters& parameters);
Cluster build_custom(ClusterParameters& parameters);

}  // namespace sim
