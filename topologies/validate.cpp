#include "topologies/validate.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sim {
namespace {

// Links grouped by one end.
class Neighbours {
 public:
  enum class Side { kFollow, kAgainst };
  Neighbours(const Cluster& cluster, Side side)
      : devices_(cluster.devices.size()), first_(cluster.vertex_names.size() + 1, 0) {
    const auto row = [side](const Link& l) {
      return (side == Side::kFollow ? l.from : l.to).index();
    };
    for (const Link& link : cluster.links) ++first_[row(link) + 1];
    for (std::size_t i = 1; i < first_.size(); ++i) first_[i] += first_[i - 1];
    others_.resize(cluster.links.size());
    std::vector<std::size_t> next(first_.begin(), first_.end() - 1);
    for (const Link& link : cluster.links) {
      others_[next[row(link)]++] = (side == Side::kFollow ? link.to : link.from).index();
    }
  }

  // Vertices that `start` leads to; other GPUs are ends, never passed through.
  std::vector<bool> reached_from(std::size_t start) const {
    std::vector<bool> seen(first_.size() - 1, false);
    std::vector<std::size_t> queue = {start};
    seen[start] = true;
    while (!queue.empty()) {
      const std::size_t here = queue.back();
      queue.pop_back();
      if (here < devices_ && here != start) continue;
      for (std::size_t i = first_[here]; i < first_[here + 1]; ++i) {
        if (seen[others_[i]]) continue;
        seen[others_[i]] = true;
        queue.push_back(others_[i]);
      }
    }
    return seen;
  }

  std::span<const std::size_t> of(std::size_t vertex) const {
    return {others_.data() + first_[vertex], others_.data() + first_[vertex + 1]};
  }

 private:
  std::size_t devices_;
  std::vector<std::size_t> first_;
  std::vector<std::size_t> others_;
};

std::string gpu_text(const Cluster& cluster, std::size_t device) {
  const ClusterDevice& d = cluster.devices[device];
  return "gpu " + std::to_string(d.index_in_node) + " of node '" +
         cluster.nodes[d.node.index()].name + "'";
}

std::optional<std::size_t> first_missing(const std::vector<bool>& reached, std::size_t devices) {
  const auto end = reached.begin() + static_cast<std::ptrdiff_t>(devices);
  const auto found = std::find(reached.begin(), end, false);
  if (found == end) return std::nullopt;
  return static_cast<std::size_t>(found - reached.begin());
}

// (source, destination) of a pair without a path.
std::optional<std::pair<std::size_t, std::size_t>> broken_pair(const Cluster& cluster) {
  const std::size_t devices = cluster.devices.size();
  if (devices < 2) return std::nullopt;
  const Neighbours follow(cluster, Neighbours::Side::kFollow);
  const Neighbours against(cluster, Neighbours::Side::kAgainst);
  // A switch that leads to every GPU and that every GPU leads to joins all of them.
  for (const std::size_t hub : follow.of(0)) {
    if (hub < devices) continue;
    if (!first_missing(follow.reached_from(hub), devices) &&
        !first_missing(against.reached_from(hub), devices)) {
      return std::nullopt;
    }
  }
  for (std::size_t source = 0; source < devices; ++source) {
    if (const auto missing = first_missing(follow.reached_from(source), devices)) {
      return std::make_pair(source, *missing);
    }
  }
  return std::nullopt;
}

class Validator {
 public:
  Validator(const Cluster& cluster, Mistakes& mistakes, const Place& place)
      : cluster_(cluster), mistakes_(mistakes), place_(place) {}

  void run() {
    const std::size_t before = mistakes_.list().size();
    check_nodes();
    if (mistakes_.list().size() == before) check_links();
    if (mistakes_.list().size() == before) check_names();
    if (mistakes_.list().size() == before) check_paths();
  }

 private:
  void add(std::string message, std::string hint = {}) {
    mistakes_.add(place_, "cluster '" + cluster_.name + "': " + std::move(message),
                  std::move(hint));
  }
  void check_nodes();
  void check_links();
  void check_names();
  void check_paths();

  const Cluster& cluster_;
  Mistakes& mistakes_;
  Place place_;
};

void Validator::check_nodes() {
  if (cluster_.nodes.empty()) add("it has 0 nodes");
  if (cluster_.devices.empty()) add("it has 0 GPUs");
  if (cluster_.vertex_names.size() < cluster_.devices.size())
    add("it has fewer vertices than GPUs");
  if (cluster_.paths_per_flow < 1) add("paths_per_flow must be at least 1");
  std::size_t next = 0;
  for (std::size_t n = 0; n < cluster_.nodes.size(); ++n) {
    const ClusterNode& node = cluster_.nodes[n];
    if (node.devices.empty()) add("node '" + node.name + "' has 0 GPUs");
    for (std::size_t i = 0; i < node.devices.size(); ++i, ++next) {
      const bool known = next < cluster_.devices.size() && node.devices[i].index() == next;
      if (!known || cluster_.devices[next].node.index() != n ||
          cluster_.devices[next].index_in_node != static_cast<int>(i)) {
        add("the GPUs of node '" + node.name + "' are not numbered node by node");
        return;
      }
    }
  }
  if (next != cluster_.devices.size()) add("some GPUs belong to no node");
}

void Validator::check_links() {
  const auto vertices = static_cast<std::int32_t>(cluster_.vertex_names.size());
  const auto exists = [vertices](VertexId v) { return v.valid() && v.value() < vertices; };
  for (const Link& link : cluster_.links) {
    if (!exists(link.from) || !exists(link.to) || link.from == link.to) {
      add("link '" + link.name + "' does not join two vertices");
    } else if (!(link.capacity.count() > 0) || !std::isfinite(link.capacity.count())) {
      add("link '" + link.name + "' must have a positive bandwidth");
    } else if (link.latency.count() < 0) {
      add("link '" + link.name + "' must not have a negative latency");
    }
  }
}

void Validator::check_names() {
  std::vector<std::string_view> names;
  for (const Link& link : cluster_.links) names.push_back(link.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) {
    add("two links are called '" + std::string(*twice) + "'",
        "give them names, or write one with 'parallel: 2'");
  }
}

void Validator::check_paths() {
  const auto broken = broken_pair(cluster_);
  if (!broken) return;
  add(gpu_text(cluster_, broken->first) + " cannot reach " + gpu_text(cluster_, broken->second),
      "GPUs forward nothing for others: join their switches in both directions");
}

}  // namespace

void validate(const Cluster& cluster, Mistakes& mistakes, const Place& place) {
  Validator(cluster, mistakes, place).run();
}

}  // namespace sim
