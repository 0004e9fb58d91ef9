#include "topologies/switch_graph.h"

#include <algorithm>
#include <map>

namespace sim {

HopRows::HopRows(std::size_t rows, const std::vector<std::pair<std::int32_t, Hop>>& pairs)
    : first_(rows + 1, 0), hops_(pairs.size()) {
  for (const auto& [row, hop] : pairs) ++first_[static_cast<std::size_t>(row) + 1];
  for (std::size_t i = 0; i < rows; ++i) first_[i + 1] += first_[i];
  std::vector<std::uint32_t> next(first_.begin(), first_.end() - 1);
  for (const auto& [row, hop] : pairs) hops_[next[static_cast<std::size_t>(row)]++] = hop;
}

SwitchGraph::SwitchGraph(const Cluster& cluster, const std::vector<bool>& left_out) {
  number_switches(cluster);
  sort_links(cluster, left_out);
  find_families();
}

void SwitchGraph::number_switches(const Cluster& cluster) {
  const int devices = cluster.device_count();
  const std::size_t switches = cluster.vertex_names.size() - static_cast<std::size_t>(devices);
  std::vector<std::int32_t> parent(switches);
  for (std::size_t i = 0; i < switches; ++i) parent[i] = static_cast<std::int32_t>(i);
  const auto root = [&parent](std::int32_t x) {
    while (parent[static_cast<std::size_t>(x)] != x) {
      auto& up = parent[static_cast<std::size_t>(x)];
      up = parent[static_cast<std::size_t>(up)];
      x = up;
    }
    return x;
  };
  for (const Link& link : cluster.links) {
    if (link.from.value() < devices || link.to.value() < devices) continue;
    const std::int32_t a = root(link.from.value() - devices);
    const std::int32_t b = root(link.to.value() - devices);
    parent[static_cast<std::size_t>(std::max(a, b))] = std::min(a, b);
  }
  // Roots are the smallest of their component, so this order is by component, then by vertex.
  std::vector<std::pair<std::int32_t, std::int32_t>> order(switches);
  for (std::size_t i = 0; i < switches; ++i) {
    order[i] = {root(static_cast<std::int32_t>(i)), static_cast<std::int32_t>(i)};
  }
  std::sort(order.begin(), order.end());
  number_.resize(switches);
  component.resize(switches);
  for (std::size_t i = 0; i < switches; ++i) {
    if (i == 0 || order[i].first != order[i - 1].first) {
      component_begin.push_back(static_cast<std::uint32_t>(i));
    }
    number_[static_cast<std::size_t>(order[i].second)] = static_cast<std::int32_t>(i);
    component[i] = static_cast<std::int32_t>(component_begin.size()) - 1;
  }
  component_begin.push_back(static_cast<std::uint32_t>(switches));
}

void SwitchGraph::sort_links(const Cluster& cluster, const std::vector<bool>& left_out) {
  const int devices = cluster.device_count();
  const auto is_device = [devices](VertexId v) { return v.value() < devices; };
  const auto switch_of = [this, devices](VertexId v) {
    return number_[static_cast<std::size_t>(v.value() - devices)];
  };
  std::vector<std::pair<std::int32_t, Hop>> between, back, leaving, arriving, straight;
  for (std::size_t i = 0; i < cluster.links.size(); ++i) {
    const Link& link = cluster.links[i];
    if (!left_out.empty() && left_out[i]) continue;
    const LinkId id(static_cast<std::int64_t>(i));
    const std::int32_t length = length_of(link.kind);
    if (is_device(link.from) && is_device(link.to)) {
      straight.push_back({link.from.value(), {id, link.to.value(), length}});
    } else if (is_device(link.from)) {
      leaving.push_back({link.from.value(), {id, switch_of(link.to), length}});
    } else if (is_device(link.to)) {
      arriving.push_back({link.to.value(), {id, switch_of(link.from), length}});
    } else {
      between.push_back({switch_of(link.from), {id, switch_of(link.to), length}});
      back.push_back({switch_of(link.to), {id, switch_of(link.from), length}});
    }
  }
  direct = HopRows(cluster.devices.size(), straight);
  out = HopRows(cluster.devices.size(), leaving);
  in = HopRows(cluster.devices.size(), arriving);
  forward = HopRows(size(), between);
  into = HopRows(size(), back);
}

void SwitchGraph::find_families() {
  std::map<std::vector<LastStep>, std::size_t> known;
  family.resize(size());
  for (std::size_t i = 0; i < size(); ++i) {
    std::vector<LastStep> starts;
    for (const Hop& hop : into.of(i)) {
      starts.push_back({static_cast<std::uint32_t>(hop.other), hop.length});
    }
    std::sort(starts.begin(), starts.end());
    const auto same_switch = [](const LastStep& a, const LastStep& b) { return a.from == b.from; };
    starts.erase(std::unique(starts.begin(), starts.end(), same_switch), starts.end());
    const auto [entry, is_new] = known.emplace(starts, sources.size());
    if (is_new) sources.push_back(std::move(starts));
    family[i] = entry->second;
  }
}

}  // namespace sim
