#include "topologies/bisection.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace sim {
namespace {

constexpr std::size_t kMostLinks = 100'000;

class MaximumFlow {
 public:
  explicit MaximumFlow(std::size_t vertices) : edges_of_(vertices) {}

  void add(std::size_t from, std::size_t to, std::int64_t capacity) {
    edges_of_[from].push_back(edges_.size());
    edges_.push_back({to, capacity});
    edges_of_[to].push_back(edges_.size());
    edges_.push_back({from, 0});
  }

  std::int64_t run(std::size_t source, std::size_t sink) {
    std::int64_t flow = 0;
    while (find_levels(source, sink)) {
      next_.assign(edges_of_.size(), 0);
      while (const std::int64_t more = push_one_path(source, sink)) flow += more;
    }
    return flow;
  }

 private:
  struct Edge {
    std::size_t to;
    std::int64_t room;
  };

  bool find_levels(std::size_t source, std::size_t sink) {
    level_.assign(edges_of_.size(), -1);
    level_[source] = 0;
    std::vector<std::size_t> queue = {source};
    for (std::size_t i = 0; i < queue.size(); ++i) {
      for (const std::size_t e : edges_of_[queue[i]]) {
        if (edges_[e].room == 0 || level_[edges_[e].to] >= 0) continue;
        level_[edges_[e].to] = level_[queue[i]] + 1;
        queue.push_back(edges_[e].to);
      }
    }
    return level_[sink] >= 0;
  }

  // Walks one level down at a time, a step back out of dead ends; no recursion, so that a long
  // chain of switches is no stack overflow.
  std::int64_t push_one_path(std::size_t source, std::size_t sink) {
    std::vector<std::size_t> path;
    std::size_t here = source;
    while (here != sink) {
      auto& i = next_[here];
      while (i < edges_of_[here].size() && !leads_down(here, edges_of_[here][i])) ++i;
      if (i < edges_of_[here].size()) {
        path.push_back(edges_of_[here][i]);
        here = edges_[path.back()].to;
      } else {
        if (path.empty()) return 0;
        here = edges_[path.back() ^ 1].to;
        path.pop_back();
        ++next_[here];
      }
    }
    std::int64_t least = edges_[path.front()].room;
    for (const std::size_t e : path) least = std::min(least, edges_[e].room);
    for (const std::size_t e : path) {
      edges_[e].room -= least;
      edges_[e ^ 1].room += least;
    }
    return least;
  }

  bool leads_down(std::size_t from, std::size_t edge) const {
    return edges_[edge].room > 0 && level_[edges_[edge].to] == level_[from] + 1;
  }

  std::vector<Edge> edges_;  // edge e and e ^ 1 are the two directions
  std::vector<std::vector<std::size_t>> edges_of_;
  std::vector<int> level_;
  std::vector<std::size_t> next_;
};

}  // namespace

std::optional<Bandwidth> bisection_bandwidth(const Cluster& cluster) {
  const std::size_t devices = cluster.devices.size();
  if (devices < 2 || cluster.links.size() > kMostLinks) return std::nullopt;
  const std::size_t vertices = cluster.vertex_names.size();
  const std::size_t half = devices / 2;
  const std::size_t source = vertices;
  const std::size_t sink = vertices + 1;
  MaximumFlow flow(vertices + 2);
  std::int64_t everything = 0;
  for (const Link& link : cluster.links) {
    const std::size_t from = link.from.index();
    const std::size_t to = link.to.index();
    // GPUs forward nothing: the first half only sends, the other half only receives.
    if ((from >= half && from < devices) || to < half) continue;
    // A petabyte per second at most, so that 100,000 links add up within 64 bits.
    const std::int64_t capacity = std::llround(std::min(link.capacity.count() / 1e3, 1e12));
    flow.add(from, to, capacity);
    everything += capacity;
  }
  for (std::size_t i = 0; i < devices; ++i) {
    if (i < half) {
      flow.add(source, i, everything);
    } else {
      flow.add(i, sink, everything);
    }
  }
  return Bandwidth(static_cast<double>(flow.run(source, sink)) * 1e3);
}

}  // namespace sim
