// A cluster written out: nodes, switches (everything that is not a GPU) and links.
//
//   generator: custom
//   nodes: [{name: node0, device: h100-sxm, gpus: 2}]     # GPUs are node0/gpu0, node0/gpu1
//   switches: [leaf0]
//   links: [{from: node0/gpu0, to: leaf0, bandwidth: 50 GB/s, latency: 1 us, kind: nic}]
//
// A link is a cable (both directions) unless `one_way: true`; `parallel: 2` is two of them.
#include <map>
#include <tuple>
#include <utility>

#include "sim/input/suggestion.h"
#include "topologies/generators.h"

namespace sim {
namespace {

constexpr int kMostSuggestions = 20;  // a suggestion compares with every name: costly in big files
constexpr std::size_t kMostFigures = 16;

const std::pair<std::string, LinkKind> kKinds[] = {{"nvlink", LinkKind::kNvlink},
                                                   {"pcie", LinkKind::kPcie},
                                                   {"nic", LinkKind::kNic},
                                                   {"fabric", LinkKind::kFabric},
                                                   {"host", LinkKind::kHost}};

class CustomReader {
 public:
  explicit CustomReader(ClusterParameters& parameters)
      : parameters_(parameters), builder_(parameters.name()) {
    for (const auto& [name, kind] : kKinds) kind_names_.push_back(name);
  }

  Cluster read() {
    static const std::vector<std::string> kLabels(figure_labels().begin(), figure_labels().end());
    label_ = parameters_.choice_or("label", "assumed", kLabels);
    source_ = parameters_.text_or("source", "");
    read_nodes();
    read_switches();
    read_links();
    const std::int64_t paths = parameters_.count_or("paths_per_flow", 1, {1, 64});
    builder_.cluster().paths_per_flow = static_cast<int>(paths);
    builder_.cluster().hash_seed =
        static_cast<std::uint64_t>(parameters_.count_or("hash_seed", 0, {0, kLargestHashSeed}));
    if (!parameters_.clean()) return {};
    add_figures();
    return builder_.finish();
  }

 private:
  void read_nodes();
  void read_switches();
  void read_links();
  void read_link(YamlMap& link);
  void add_figures();
  VertexId vertex(YamlMap& link, std::string_view key);
  void name_vertex(const std::string& name, VertexId id, const Place& place);

  ClusterParameters& parameters_;
  ClusterBuilder builder_;
  std::vector<std::string> kind_names_;
  std::string label_;
  std::string source_;
  std::map<std::string, VertexId> vertices_;
  int suggestions_ = 0;
};

void CustomReader::name_vertex(const std::string& name, VertexId id, const Place& place) {
  if (!vertices_.emplace(name, id).second) {
    parameters_.mistakes().add(place, "two vertices are called '" + name + "'",
                               "give each node and switch its own name");
  }
}

void CustomReader::read_nodes() {
  const std::vector<YamlNode> nodes = parameters_.list_or_empty("nodes");
  if (nodes.empty()) {
    parameters_.mistake("nodes", "this cluster has 0 nodes", "list them under 'nodes'");
  }
  std::int64_t gpus_so_far = 0;
  for (const YamlNode& item : nodes) {
    YamlMap node(item, "a node", parameters_.mistakes());
    const std::string name = node.text("name");
    const std::string device = node.text("device");
    const std::int64_t gpus = node.count("gpus", {1, kMostDevices});
    node.finish();
    gpus_so_far += gpus;
    if (gpus_so_far > kMostDevices) {
      node.mistake("gpus", "this cluster has more than " + std::to_string(kMostDevices) + " GPUs");
      return;
    }
    const NodeId id = builder_.add_node(name, device, static_cast<int>(gpus));
    for (int i = 0; i < gpus; ++i) {
      const VertexId gpu = builder_.gpu(id, i);
      name_vertex(builder_.name_of(gpu), gpu, node.place());
    }
  }
}

void CustomReader::read_switches() {
  for (const YamlNode& item : parameters_.list_or_empty("switches")) {
    if (!item.is_scalar() || item.text().empty()) {
      parameters_.mistakes().add(item.place(), "a switch is a name", "like leaf0");
      continue;
    }
    name_vertex(item.text(), builder_.add_switch(item.text()), item.place());
  }
}

VertexId CustomReader::vertex(YamlMap& link, std::string_view key) {
  const std::string name = link.text(key);
  const auto found = vertices_.find(name);
  if (found != vertices_.end()) return found->second;
  if (name.empty()) return {};
  std::string hint;
  if (++suggestions_ <= kMostSuggestions) {
    std::vector<std::string> names;
    for (const auto& [known, id] : vertices_) names.push_back(known);
    hint = suggest(name, names);
  }
  link.mistake(key, "no vertex is called '" + name + "'", std::move(hint));
  return {};
}

void CustomReader::read_links() {
  for (const YamlNode& item : parameters_.list_or_empty("links")) {
    YamlMap link(item, "a link", parameters_.mistakes());
    read_link(link);
    link.finish();
    if (builder_.cluster().links.size() > static_cast<std::size_t>(kMostLinks)) {
      link.mistake("parallel",
                   "this cluster has more than " + std::to_string(kMostLinks) + " links");
      return;
    }
  }
}

void CustomReader::read_link(YamlMap& link) {
  const VertexId from = vertex(link, "from");
  const VertexId to = vertex(link, "to");
  PortFigure port;
  const std::size_t before = link.mistakes().list().size();
  port.bandwidth = link.bandwidth("bandwidth");
  if (port.bandwidth.count() <= 0 && link.mistakes().list().size() == before) {
    link.mistake("bandwidth", "'bandwidth' in a link must be positive");
  }
  port.latency = link.duration_or("latency", Duration(0));
  const std::string kind_name = link.choice_or("kind", "fabric", kind_names_);
  const bool one_way = link.flag_or("one_way", false);
  const auto parallel = static_cast<int>(link.count_or("parallel", 1, {1, 1024}));
  if (!from.valid() || !to.valid()) return;
  const std::string name =
      link.text_or("name", builder_.name_of(from) + "-" + builder_.name_of(to));
  if (from == to) {
    link.mistake("to", "a link must not lead from '" + builder_.name_of(from) + "' to itself");
    return;
  }
  LinkKind kind = LinkKind::kFabric;
  for (const auto& [text, value] : kKinds) {
    if (text == kind_name) kind = value;
  }
  for (int i = 0; i < parallel; ++i) {
    const std::string copy = parallel == 1 ? name : name + "#" + std::to_string(i);
    if (one_way) {
      builder_.add_link(copy, from, to, port, kind);
    } else {
      builder_.add_cable(copy, from, to, port, kind);
    }
  }
}

// One figure per kind, rate and latency, when they are few.
void CustomReader::add_figures() {
  std::map<std::tuple<int, double, Duration>, int> counts;
  for (const Link& link : builder_.cluster().links) {
    ++counts[{static_cast<int>(link.kind), link.capacity.count(), link.latency}];
  }
  std::size_t shown = 0;
  for (const auto& [key, count] : counts) {
    if (++shown > kMostFigures) break;
    const auto& [kind, bandwidth, latency] = key;
    builder_.add_figure(std::string(to_text(static_cast<LinkKind>(kind))),
                        {Bandwidth(bandwidth), latency, label_, source_, label_, source_});
  }
}

}  // namespace

Cluster build_custom(ClusterParameters& parameters) { return CustomReader(parameters).read(); }

}  // namespace sim
