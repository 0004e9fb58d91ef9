// One kind of node written out part by part, and as many of them as wanted on a rail network: what
// `simulate cluster import` writes.
//
//   generator: node-graph
//   nodes: 2
//   device: h800-sxm
//   gpus: 2                                  # gpu0, gpu1
//   switches: [cpu0, pcie0, mlx5_0]          # everything else that links join, NICs too
//   links:                                   # cables: both directions; `port` is a key of this
//   file
//     - {name: gpu0/pcie, from: gpu0, to: pcie0, kind: pcie, port: pcie-gen5-x16}
//   nics: [{name: mlx5_0, at: mlx5_0, port: nic-400g}]   # the i-th NIC of every node is on rail i
//   pcie-gen5-x16: {bandwidth: 63 GB/s, label: published, source: ...}
//
// With one node the NICs' ports are left out: no route would use them.
#include <map>
#include <utility>

#include "sim/input/suggestion.h"
#include "topologies/generators.h"
#include "topologies/leaf_spine.h"

namespace sim {
namespace {

constexpr std::size_t kMostParts = 100'000;  // of one node
constexpr std::int64_t kMostGpusPerNode = 4096;

struct GraphLink {
  std::string name;
  int from = 0;  // part number: GPUs first, then switches
  int to = 0;
  LinkKind kind = LinkKind::kPcie;
  std::string port;
};

struct GraphNic {
  std::string name;
  int at = 0;
  std::string port;
};

const std::pair<std::string, LinkKind> kKinds[] = {
    {"nvlink", LinkKind::kNvlink}, {"pcie", LinkKind::kPcie}, {"host", LinkKind::kHost}};

class NodeGraphReader {
 public:
  explicit NodeGraphReader(ClusterParameters& parameters) : parameters_(parameters) {}

  Cluster read();

 private:
  void read_parts();
  void read_links();
  void read_nics();
  int part(YamlMap& map, std::string_view key);
  std::string port(YamlMap& map);
  void add_node(ClusterBuilder& builder, NodeId node, std::vector<FabricPort>& ports);

  ClusterParameters& parameters_;
  int gpus_ = 0;
  std::vector<std::string> names_;  // of the parts
  std::map<std::string, int> number_;
  std::vector<GraphLink> links_;
  std::vector<GraphNic> nics_;
  std::map<std::string, PortFigure> ports_;
};

void NodeGraphReader::read_parts() {
  gpus_ = static_cast<int>(parameters_.count("gpus", {1, kMostGpusPerNode}));
  for (int i = 0; i < gpus_; ++i) names_.push_back("gpu" + std::to_string(i));
  const std::vector<std::string> switches = parameters_.texts_or_empty("switches");
  names_.insert(names_.end(), switches.begin(), switches.end());
  for (std::size_t i = 0; i < names_.size(); ++i) {
    if (!number_.emplace(names_[i], static_cast<int>(i)).second)
      parameters_.mistake("switches", "two parts of the node are called '" + names_[i] + "'");
  }
}

int NodeGraphReader::part(YamlMap& map, std::string_view key) {
  const std::string name = map.text(key);
  const auto found = number_.find(name);
  if (found != number_.end()) return found->second;
  if (!name.empty())
    map.mistake(key, "no part of the node is called '" + name + "'", suggest(name, names_));
  return 0;
}

std::string NodeGraphReader::port(YamlMap& map) {
  const std::string name = map.text("port");
  if (name.empty() || ports_.count(name) != 0) return name;
  if (!parameters_.has(name)) {
    map.mistake("port", "the cluster has no key '" + name + "' with the bandwidth of this port",
                "like " + name + ": {bandwidth: 63 GB/s}");
    ports_[name] = {};
  } else {
    ports_[name] = parameters_.port(name);
  }
  return name;
}

void NodeGraphReader::read_links() {
  std::vector<std::string> kinds;
  for (const auto& [name, kind] : kKinds) kinds.push_back(name);
  for (const YamlNode& item : parameters_.list_or_empty("links")) {
    YamlMap map(item, "a link", parameters_.mistakes());
    GraphLink link;
    link.from = part(map, "from");
    link.to = part(map, "to");
    if (parameters_.clean() && link.from == link.to)
      map.mistake("to", "a link must not lead from a part to itself");
    const std::string kind = map.choice("kind", kinds);
    for (const auto& [name, value] : kKinds) {
      if (name == kind) link.kind = value;
    }
    link.port = port(map);
    link.name = map.text("name");
    map.finish();
    links_.push_back(std::move(link));
  }
}

void NodeGraphReader::read_nics() {
  for (const YamlNode& item : parameters_.list_or_empty("nics")) {
    YamlMap map(item, "a NIC", parameters_.mistakes());
    GraphNic nic;
    nic.name = map.text("name");
    nic.at = part(map, "at");
    nic.port = port(map);
    map.finish();
    nics_.push_back(std::move(nic));
  }
}

void NodeGraphReader::add_node(ClusterBuilder& builder, NodeId node,
                               std::vector<FabricPort>& ports) {
  const std::string prefix = "node" + std::to_string(node.value()) + "/";
  std::vector<VertexId> vertices;
  for (int i = 0; i < gpus_; ++i) vertices.push_back(builder.gpu(node, i));
  for (std::size_t i = static_cast<std::size_t>(gpus_); i < names_.size(); ++i)
    vertices.push_back(builder.add_switch(prefix + names_[i]));
  for (const GraphLink& link : links_) {
    builder.add_cable(prefix + link.name, vertices[static_cast<std::size_t>(link.from)],
                      vertices[static_cast<std::size_t>(link.to)], ports_.at(link.port), link.kind);
  }
  for (std::size_t i = 0; i < nics_.size(); ++i) {
    ports.push_back({vertices[static_cast<std::size_t>(nics_[i].at)],
                     prefix + nics_[i].name + "/port", node.value(), static_cast<int>(i),
                     ports_.at(nics_[i].port)});
  }
}

Cluster NodeGraphReader::read() {
  const std::int64_t nodes = parameters_.count_or("nodes", 1, {1, kMostDevices});
  const std::string device = parameters_.text("device");
  read_parts();
  read_links();
  read_nics();
  const LeafSpineParameters network = read_leaf_spine(parameters_, 16);
  const std::size_t parts = names_.size() + links_.size() + nics_.size();
  if (parts > kMostParts) {
    parameters_.mistake("links", "a node has " + std::to_string(parts) +
                                     " parts, links and NICs; the most is " +
                                     std::to_string(kMostParts));
  }
  if (nodes * gpus_ > kMostDevices ||
      nodes * static_cast<std::int64_t>(2 * (links_.size() + nics_.size())) > kMostLinks) {
    parameters_.mistake("nodes", std::to_string(nodes) +
                                     " such nodes are more GPUs or links than fit in a cluster");
  }
  if (nodes > 1 && nics_.empty()) {
    parameters_.mistake("nics",
                        std::to_string(nodes) + " nodes are joined by NICs, and there are none",
                        "list them under 'nics', or set nodes: 1");
  }
  if (!parameters_.clean()) return {};

  ClusterBuilder builder(parameters_.name());
  for (const auto& [name, figure] : ports_) builder.add_figure(name, figure);
  for (std::int64_t n = 0; n < nodes; ++n)
    builder.add_node("node" + std::to_string(n), device, gpus_);
  std::vector<FabricPort> ports;
  for (std::int64_t n = 0; n < nodes; ++n) add_node(builder, NodeId(n), ports);
  if (nodes > 1) add_leaf_spine(builder, ports, network, parameters_);
  if (!parameters_.clean()) return {};
  return builder.finish();
}

}  // namespace

Cluster build_node_graph(ClusterParameters& parameters) {
  return NodeGraphReader(parameters).read();
}

}  // namespace sim
