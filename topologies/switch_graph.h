// A cluster as routes see it: GPUs at the edge, and a graph of everything else ("switches").
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "sim/core/id.h"
#include "topologies/cluster.h"

namespace sim {

// A link and the switch (by its number here) or device at its other end.
struct Hop {
  LinkId link;
  std::int32_t other;
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
// component is dense. Switches that are reached from the same others are a family, as all leaves
// are from all spines: the ways to them differ in the last link only.
struct SwitchGraph {
  explicit SwitchGraph(const Cluster& cluster);
  std::size_t size() const { return component.size(); }

  std::vector<std::int32_t> component;              // by switch
  std::vector<std::uint32_t> component_begin;       // by component; one more than components
  std::vector<std::size_t> family;                  // by switch
  std::vector<std::vector<std::uint32_t>> sources;  // by family: switches with a link to it, sorted
  HopRows forward;                                  // by switch: to switches
  HopRows into;                                     // by switch: from switches
  HopRows out;                                      // by device: to switches
  HopRows in;                                       // by device: from switches
  HopRows direct;                                   // by device: to devices

 private:
  void number_switches(const Cluster& cluster);
  void sort_links(const Cluster& cluster);
  void find_families();
  std::vector<std::int32_t> number_;  // by vertex minus devices
};

}  // namespace sim
