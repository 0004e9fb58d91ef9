// Raw transfers over raw links: what `simulate flows` solves, whatever file it came from.
//
// A flow begins to take bandwidth at its start plus the latency of its route, and ends when its
// bytes have been carried at its max-min fair rate. No tasks, no rounding to ticks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace sim {

struct Flow {
  double bytes = 0;  // whole
  double start_s = 0;
  std::uint32_t route = 0;
};

struct FlowSet {
  std::vector<double> capacities;  // bytes/s, per link
  // Route r crosses route_links[route_first[r], route_first[r + 1]), each link once.
  std::vector<std::uint32_t> route_first = {0};
  std::vector<std::int32_t> route_links;
  std::vector<double> route_multipliers;  // bytes on the link per byte of a flow; empty: all 1
  std::vector<double> route_latency_s;
  std::vector<Flow> flows;
  std::vector<double> weights;           // per flow; empty: all 1
  std::vector<double> caps_bytes_per_s;  // per flow; empty: none

  std::size_t route_count() const { return route_latency_s.size(); }
  std::span<const std::int32_t> links(std::uint32_t route) const {
    return {route_links.data() + route_first[route], route_links.data() + route_first[route + 1]};
  }
  double multiplier(std::uint32_t route, std::size_t i) const {
    return route_multipliers.empty() ? 1 : route_multipliers[route_first[route] + i];
  }
  double begin_s(const Flow& flow) const { return flow.start_s + route_latency_s[flow.route]; }
};

// No link can be done before: max over links of (first begin on it + its bytes / capacity), and no
// flow before its begin + bytes / cap. Seconds; 0 without flows.
double makespan_lower_bound_s(const FlowSet& set);

// The first flow with bytes to carry over a link without capacity: it would wait forever.
struct StarvedFlow {
  std::size_t flow = 0;
  std::int32_t link = -1;  // -1: no flow starves
};
StarvedFlow find_starved(const FlowSet& set);

struct FlowTimes {
  std::vector<double> finish_s;     // per flow
  double makespan_s = 0;            // the last of them
  std::uint64_t level_changes = 0;  // of links; 0 when one_solve.h found the rates
};

// Exact max-min sharing. REQUIRES: find_starved() finds none. Throws Error when a flow takes longer
// than a double can tell.
FlowTimes solve_flows(const FlowSet& set);
// The same without the short way of one_solve.h. With a `window` above 0 approximate: ends within
// this share of the time since the first begin are settled together, so what a flow frees is shared
// out late (tests/speed/README.md has measured errors).
FlowTimes solve_flows_by_events(const FlowSet& set, double window = 0);

}  // namespace sim
