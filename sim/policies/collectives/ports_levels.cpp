#include "sim/policies/collectives/ports_levels.h"

#include <algorithm>
#include <cstddef>
#include <set>
#include <utility>

namespace sim {
namespace {

class LevelFinder {
 public:
  explicit LevelFinder(const Cluster& cluster)
      : cluster_(cluster), out_(cluster.vertex_names.size()), in_(cluster.vertex_names.size()) {
    for (std::size_t l = 0; l < cluster.links.size(); ++l) {
      const LinkId id(static_cast<std::int64_t>(l));
      out_[cluster.links[l].from.index()].push_back(id);
      in_[cluster.links[l].to.index()].push_back(id);
    }
  }

  std::optional<PortLevels> find(std::string& reason) {
    if (ports_of_devices() && scale_up_switches() && leaves()) return std::move(levels_);
    reason = reason_;
    return std::nullopt;
  }

 private:
  bool fail(std::string reason) {
    reason_ = std::move(reason);
    return false;
  }
  const std::string& name(VertexId vertex) const { return cluster_.vertex_names[vertex.index()]; }
  bool is_device(VertexId vertex) const { return vertex.value() < cluster_.device_count(); }
  const Link& link(LinkId id) const { return cluster_.links[id.index()]; }

  bool ports_of_devices();
  bool take_port(VertexId device, LinkId id, bool up);
  bool scale_up_switches();
  bool leaves();
  int number_of(std::vector<VertexId>& list, std::vector<int>& number, VertexId vertex);

  const Cluster& cluster_;
  std::vector<std::vector<LinkId>> out_, in_;  // by vertex
  PortLevels levels_;
  std::vector<VertexId> hubs_, leaf_switches_;
  std::string reason_;
};

bool LevelFinder::take_port(VertexId device, LinkId id, bool up) {
  const Link& cable = link(id);
  const VertexId other = up ? cable.to : cable.from;
  if (is_device(other)) {
    return fail(name(device) + " is joined to " + name(other) + " without a switch");
  }
  auto& ports = cable.kind == LinkKind::kNvlink ? levels_.scale_up : levels_.nic;
  LinkId& slot = up ? ports[device.index()].up : ports[device.index()].down;
  if (slot.valid()) {
    return fail(
        name(device) + " has several ports of kind " +
        std::string(to_text(cable.kind == LinkKind::kNvlink ? LinkKind::kNvlink : LinkKind::kNic)));
  }
  slot = id;
  return true;
}

bool LevelFinder::ports_of_devices() {
  const std::size_t devices = cluster_.devices.size();
  levels_.scale_up.resize(devices);
  levels_.nic.resize(devices);
  for (std::size_t d = 0; d < devices; ++d) {
    const VertexId device(static_cast<std::int64_t>(d));
    for (const LinkId id : out_[d]) {
      if (!take_port(device, id, true)) return false;
    }
    for (const LinkId id : in_[d]) {
      if (!take_port(device, id, false)) return false;
    }
    for (const PortLevels::Port& port : {levels_.scale_up[d], levels_.nic[d]}) {
      if (port.up.valid() != port.down.valid() ||
          (port.up.valid() && link(port.up).to != link(port.down).from)) {
        return fail("a port of " + name(device) + " leads to one switch and comes from another");
      }
    }
  }
  return true;
}

int LevelFinder::number_of(std::vector<VertexId>& list, std::vector<int>& number, VertexId vertex) {
  int& slot = number[vertex.index()];
  if (slot < 0) {
    slot = static_cast<int>(list.size());
    list.push_back(vertex);
  }
  return slot;
}

bool LevelFinder::scale_up_switches() {
  std::vector<int> number(cluster_.vertex_names.size(), -1);
  levels_.domain.assign(cluster_.devices.size(), -1);
  for (std::size_t d = 0; d < cluster_.devices.size(); ++d) {
    const LinkId up = levels_.scale_up[d].up;
    if (up.valid()) levels_.domain[d] = number_of(hubs_, number, link(up).to);
  }
  for (const VertexId hub : hubs_) {
    for (const LinkId id : out_[hub.index()]) {
      if (!is_device(link(id).to) || link(id).kind != LinkKind::kNvlink) {
        return fail("switch " + name(hub) + " joins more than the GPUs of one scale-up domain");
      }
    }
  }
  return true;
}

bool LevelFinder::leaves() {
  std::vector<int> number(cluster_.vertex_names.size(), -1);
  levels_.leaf.assign(cluster_.devices.size(), -1);
  for (std::size_t d = 0; d < cluster_.devices.size(); ++d) {
    const LinkId up = levels_.nic[d].up;
    if (up.valid()) levels_.leaf[d] = number_of(leaf_switches_, number, link(up).to);
  }
  std::set<VertexId> all_spines;
  for (const VertexId leaf : leaf_switches_) {
    PortLevels::Leaf cut;
    cut.name = name(leaf);
    std::set<VertexId> up, down;
    for (const LinkId id : out_[leaf.index()]) {
      if (is_device(link(id).to)) continue;
      cut.up.push_back(id);
      up.insert(link(id).to);
    }
    for (const LinkId id : in_[leaf.index()]) {
      if (is_device(link(id).from)) continue;
      cut.down.push_back(id);
      down.insert(link(id).from);
    }
    if (up != down || (!levels_.leaves.empty() && up != all_spines) ||
        (up.empty() && leaf_switches_.size() > 1)) {
      return fail("the switches that GPUs hang on are not all joined by the same spines (" +
                  name(leaf) + ")");
    }
    all_spines = up;
    levels_.leaves.push_back(std::move(cut));
  }
  for (const VertexId spine : all_spines) {
    for (const LinkId id : out_[spine.index()]) {
      const VertexId other = link(id).to;
      if (is_device(other) || number[other.index()] < 0) {
        return fail("switch " + name(spine) + " joins more than the switches that GPUs hang on");
      }
    }
  }
  return true;
}

}  // namespace

PortDistance PortLevels::distance(DeviceId a, DeviceId b) const {
  if (a == b) return PortDistance::kSelf;
  if (domain[a.index()] >= 0 && domain[a.index()] == domain[b.index()]) {
    return PortDistance::kDomain;
  }
  return leaf[a.index()] == leaf[b.index()] ? PortDistance::kLeaf : PortDistance::kSpine;
}

std::optional<PortLevels> find_port_levels(const Cluster& cluster, std::string& reason) {
  return LevelFinder(cluster).find(reason);
}

}  // namespace sim
