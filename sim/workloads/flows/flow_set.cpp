#include "sim/workloads/flows/flow_set.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "sim/core/error.h"
#include "sim/core/fair_share_solver.h"
#include "sim/workloads/flows/one_solve.h"

namespace sim {
namespace {

constexpr double kPsPerSecond = 1e12;

// Flows with bytes, by the time at which they begin; the order of the file among equals.
std::vector<std::uint32_t> by_begin(const FlowSet& set, const std::vector<double>& begin) {
  std::vector<std::uint32_t> order;
  order.reserve(set.flows.size());
  for (std::uint32_t f = 0; f < set.flows.size(); ++f) {
    if (set.flows[f].bytes > 0) order.push_back(f);
  }
  const auto earlier = [&](std::uint32_t a, std::uint32_t b) { return begin[a] < begin[b]; };
  if (!std::is_sorted(order.begin(), order.end(), earlier))
    std::stable_sort(order.begin(), order.end(), earlier);
  return order;
}

}  // namespace

double makespan_lower_bound_s(const FlowSet& set) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  std::vector<double> bytes(set.capacities.size(), 0);
  std::vector<double> first(set.capacities.size(), kNever);
  double bound = 0;
  for (std::size_t f = 0; f < set.flows.size(); ++f) {
    const Flow& flow = set.flows[f];
    const double begin = set.begin_s(flow);
    bound = std::max(bound, begin);
    if (!set.caps_bytes_per_s.empty())
      bound = std::max(bound, begin + flow.bytes / set.caps_bytes_per_s[f]);
    if (flow.bytes == 0) continue;
    const std::span<const std::int32_t> links = set.links(flow.route);
    for (std::size_t i = 0; i < links.size(); ++i) {
      const std::size_t link = static_cast<std::size_t>(links[i]);
      bytes[link] += flow.bytes * set.multiplier(flow.route, i);
      first[link] = std::min(first[link], begin);
    }
  }
  for (std::size_t link = 0; link < bytes.size(); ++link) {
    if (bytes[link] > 0) bound = std::max(bound, first[link] + bytes[link] / set.capacities[link]);
  }
  return bound;
}

StarvedFlow find_starved(const FlowSet& set) {
  if (std::find(set.capacities.begin(), set.capacities.end(), 0.0) == set.capacities.end())
    return {};
  for (std::size_t f = 0; f < set.flows.size(); ++f) {
    if (set.flows[f].bytes == 0) continue;
    for (const std::int32_t link : set.links(set.flows[f].route)) {
      if (set.capacities[static_cast<std::size_t>(link)] == 0) return {f, link};
    }
  }
  return {};
}

FlowTimes solve_flows(const FlowSet& set) {
  if (std::optional<FlowTimes> quick = solve_once(set)) return std::move(*quick);
  return solve_flows_by_events(set);
}

FlowTimes solve_flows_by_events(const FlowSet& set, double window) {
  FlowTimes times;
  times.finish_s.resize(set.flows.size());
  std::vector<double>& begin = times.finish_s;  // until a flow ends
  for (std::size_t f = 0; f < set.flows.size(); ++f) begin[f] = set.begin_s(set.flows[f]);
  const std::vector<std::uint32_t> order = by_begin(set, begin);
  const double epoch_s = order.empty() ? 0 : begin[order.front()];
  const auto offset_ps = [&](std::uint32_t f) { return (begin[f] - epoch_s) * kPsPerSecond; };

  FairShareSolver solver;
  for (const double capacity : set.capacities) solver.add_resource(capacity / kPsPerSecond);
  std::vector<std::uint32_t> flow_of;  // per index of the solver
  std::vector<FairShareSolver::FlowIndex> finished;
  std::vector<double> ends;
  std::vector<ResourceUse> uses;
  const auto add = [&](std::uint32_t f, double now) {
    const Flow& flow = set.flows[f];
    const std::span<const std::int32_t> links = set.links(flow.route);
    uses.clear();
    for (std::size_t i = 0; i < links.size(); ++i)
      uses.push_back({ResourceId(links[i]), set.multiplier(flow.route, i)});
    const double cap = set.caps_bytes_per_s.empty() ? FairShareSolver::kNever
                                                    : set.caps_bytes_per_s[f] / kPsPerSecond;
    const auto index = static_cast<std::size_t>(
        solver.add(uses, flow.bytes, set.weights.empty() ? 1 : set.weights[f], cap, now));
    if (index >= flow_of.size()) flow_of.resize(index + 1);
    flow_of[index] = f;
  };
  // Each round takes one batch of ends or the starts of one instant, so it ends.
  for (std::size_t next = 0; next < order.size() || solver.active() > 0;) {
    const double start = next < order.size() ? offset_ps(order[next]) : FairShareSolver::kNever;
    const double end = solver.active() > 0 ? solver.next_finish() : FairShareSolver::kNever;
    double now = std::min(start, end);
    if (!(now < FairShareSolver::kNever)) {
      throw Error(std::to_string(solver.active()) + " flows take longer than can be told",
                  "are the capacities in bytes per second?");
    }
    if (end <= start) {
      finished.clear();
      ends.clear();
      now = solver.take_finished(start, window, finished, &ends);
      for (std::size_t i = 0; i < finished.size(); ++i) {
        const double at = window > 0 ? ends[i] : now;
        times.finish_s[flow_of[static_cast<std::size_t>(finished[i])]] =
            epoch_s + at / kPsPerSecond;
      }
    }
    for (; next < order.size() && offset_ps(order[next]) <= now; ++next) add(order[next], now);
    solver.settle(now);
  }
  for (const double finish : times.finish_s) times.makespan_s = std::max(times.makespan_s, finish);
  times.level_changes = solver.level_changes();
  return times;
}

}  // namespace sim
