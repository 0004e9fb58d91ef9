// A cluster as routes see it: GPUs at the edge, and a graph of everything else ("switches").
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "sim/core/id.h"
#include "topologies/cluster.h"

namespace sim {

// How far a link takes a route. NVLink before PCIe, PCIe and the link between CPUs before the
// network: so GPUs of a node meet inside it, on NVLink where they have it, and a GPU reaches other
// nodes through the NIC that is nearest to it, even when one further away hangs on the right rail.
// (PCIe to another NIC costs at least two hops of 8; a detour over the spines of a three-layer
// network costs 4.) Among links of one kind a route has the fewest hops.
constexpr std::int32_t length_of(LinkKind kind) {
  switch (kind) {
    case LinkKind::kNvlink:
    case LinkKind::kFabric:
      return 1;
    case LinkKind::kPcie:
    case LinkKind::kHost:
      return 8;
    case LinkKind::kNic:
      return 64;
  }
  return 1;
}

// A link and the switch (by its number here) or device at its other end.
struct Hop {
  LinkId link;
  std::int32_t other;
  std::int32_t length;
};

// A switch with a link to another one, and the length of the shortest such link.
struct LastStep {
  std::uint32_t from;
  std::int32_t length;
  auto operator<=>(const LastStep&) const = default;
};

// Hops by row; those of a row stand in the order of link ids.
class HopRows {
 public:
  HopRows() = default;
  // REQUIRES: row numbers in 0..rows-1, pairs in the order of link ids.
  HopRows(std::size_t rows, const std::vector<std::pair<std::int32_t, Hop>>& pairs);
  std::span<const Hop> of(std::size_t row) const {
    return {hops_.data() + first_[row], hops_.data() + first_[row + 1]};
  }

 private:
  std::vector<std::uint32_t> first_;
  std::vector<Hop> hops_;
};

// Switches are numbered component by component (joined in either direction), so that a table of a
// component is dense. Switches that are reached from the same others over links of the same lengths
// are a family, as all leaves are from all spines: the ways to them differ in the last link only.
struct SwitchGraph {
  // `left_out`: by link, what is as if it were not there; empty: nothing.
  SwitchGraph(const Cluster& cluster, const std::vector<bool>& left_out);
  std::size_t size() const { return component.size(); }

  std::vector<std::int32_t> component;         // by switch
  std::vector<std::uint32_t> component_begin;  // by component; one more than components
  std::vector<std::size_t> family;             // by switch
  std::vector<std::vector<LastStep>> sources;  // by family, sorted
  HopRows forward;                             // by switch: to switches
  HopRows into;                                // by switch: from switches
  HopRows out;                                 // by device: to switches
  HopRows in;                                  // by device: from switches
  HopRows direct;                              // by device: to devices

 private:
  void number_switches(const Cluster& cluster);
  void sort_links(const Cluster& cluster, const std::vector<bool>& left_out);
  void find_families();
  std::vector<std::int32_t> number_;  // by vertex minus devices
};

}  // namespace sim
