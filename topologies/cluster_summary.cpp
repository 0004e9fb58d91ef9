#include "topologies/cluster_summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>
#include <vector>

#include "topologies/bisection.h"

namespace sim {
namespace {

constexpr std::size_t kColumns = 100;
constexpr std::size_t kMostGroups = 8;

std::string cut(std::string text) {
  if (text.size() <= kColumns) return text;
  text.resize(kColumns - 3);
  return text + "...";
}

// "8 x h100-sxm", one line per run of equal nodes.
std::string nodes_text(const Cluster& cluster) {
  std::vector<std::tuple<std::string, std::size_t, int>> groups;  // type, GPUs a node, nodes
  for (const ClusterNode& node : cluster.nodes) {
    const std::string& type = cluster.devices[node.devices.front().index()].device_type;
    if (!groups.empty() && std::get<0>(groups.back()) == type &&
        std::get<1>(groups.back()) == node.devices.size()) {
      ++std::get<2>(groups.back());
    } else {
      groups.emplace_back(type, node.devices.size(), 1);
    }
  }
  std::string text;
  for (std::size_t i = 0; i < groups.size() && i < kMostGroups; ++i) {
    const auto& [type, gpus, nodes] = groups[i];
    text += fmt::format("  {} {} of {} x {}\n", nodes, nodes == 1 ? "node" : "nodes", gpus, type);
  }
  if (groups.size() > kMostGroups) {
    text += fmt::format("  and {} more groups of nodes\n", groups.size() - kMostGroups);
  }
  return text;
}

std::string links_text(const Cluster& cluster) {
  struct Kind {
    std::size_t count = 0;
    double least = 0, most = 0;
    Duration latency{};
  };
  std::map<LinkKind, Kind> kinds;
  for (const Link& link : cluster.links) {
    Kind& kind = kinds[link.kind];
    const double rate = link.capacity.count();
    kind.least = kind.count == 0 ? rate : std::min(kind.least, rate);
    kind.most = std::max(kind.most, rate);
    kind.latency = std::max(kind.latency, link.latency);
    ++kind.count;
  }
  std::string text;
  for (const auto& [kind, k] : kinds) {
    std::string rate = format_bandwidth(Bandwidth(k.most));
    if (k.least != k.most) rate = format_bandwidth(Bandwidth(k.least)) + " to " + rate;
    text += fmt::format("  {:<7} {:>8} links, {} each, up to {} latency\n", to_text(kind), k.count,
                        rate, format_duration(k.latency));
  }
  return text;
}

std::string constants_text(const Cluster& cluster) {
  std::string text;
  const auto add = [&text](const std::string& what, const StartupCost& cost) {
    text += cut(fmt::format("  {}: start {}, NIC {:.0f} %, NVLink {:.0f} % ({}: {})", what,
                            format_duration(cost.base), cost.nic_efficiency * 100,
                            cost.nvlink_efficiency * 100, cost.label, cost.source)) +
            "\n";
  };
  for (const AlgorithmConstants& entry : cluster.communication) {
    std::string name = entry.algorithm;
    if (entry.scope != ConstantsScope::kAny) name += fmt::format(" ({})", to_text(entry.scope));
    add(name + " dispatch", entry.dispatch);
    add(name + " combine", entry.combine);
  }
  if (!cluster.collectives.empty()) {
    std::string names;
    for (const CollectiveConstants& entry : cluster.collectives) {
      const std::string name = entry.algorithm + " " + entry.operation;
      if (names.find(name) == std::string::npos) names += (names.empty() ? "" : ", ") + name;
    }
    text += cut("  collectives: " + names) + "\n";
  }
  return text;
}

}  // namespace

std::string describe(const Cluster& cluster) {
  std::string text =
      fmt::format("{}: {} {}, {} GPUs\n", cluster.name, cluster.node_count(),
                  cluster.node_count() == 1 ? "node" : "nodes", cluster.device_count());
  text += nodes_text(cluster);
  text += "links\n" + links_text(cluster);
  if (cluster.spraying == Spraying::kIdeal) {
    text += "  a transfer is sprayed over all paths\n";
  } else {
    text += fmt::format("  a transfer takes {} of its shortest paths, by hash\n",
                        cluster.paths_per_flow);
  }
  if (const auto bisection = bisection_bandwidth(cluster)) {
    text +=
        fmt::format("bisection {} per direction between the first and the other half of the GPUs\n",
                    format_bandwidth(*bisection));
  } else {
    text += "bisection not worked out (fewer than 2 GPUs, or more than 100,000 links)\n";
  }
  text += "figures\n";
  for (std::size_t i = 0; i < cluster.figures.size() && i < 2 * kMostGroups; ++i) {
    const Figure& figure = cluster.figures[i];
    text += cut(fmt::format("  {}: {} ({}{}{})", figure.what, figure.value, figure.label,
                            figure.source.empty() ? "" : ": ", figure.source)) +
            "\n";
  }
  const std::string constants = constants_text(cluster);
  if (!constants.empty()) text += "communication\n" + constants;
  if (!cluster.source.empty()) text += cut("source: " + cluster.source) + "\n";
  return text;
}

}  // namespace sim
