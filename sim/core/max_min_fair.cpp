#include "sim/core/max_min_fair.h"

#include <algorithm>
#include <cmath>

#include "sim/core/error.h"

namespace sim {

std::vector<double> max_min_fair(std::span<const double> capacities,
                                 std::span<const Demand> demands) {
  std::vector<double> level(demands.size(), 0);
  std::vector<bool> frozen(demands.size(), false);
  std::size_t left = demands.size();
  while (left > 0) {
    std::vector<double> free(capacities.begin(), capacities.end());
    std::vector<double> rising(capacities.size(), 0);
    for (std::size_t f = 0; f < demands.size(); ++f) {
      for (const ResourceUse& use : demands[f].uses) {
        const double load = use.multiplier * demands[f].weight;
        if (frozen[f]) {
          free[use.resource.index()] -= load * level[f];
        } else {
          rising[use.resource.index()] += load;
        }
      }
    }
    double next = std::numeric_limits<double>::infinity();
    for (std::size_t r = 0; r < capacities.size(); ++r) {
      if (rising[r] > 0) next = std::min(next, std::max(0.0, free[r]) / rising[r]);
    }
    for (std::size_t f = 0; f < demands.size(); ++f) {
      if (!frozen[f]) next = std::min(next, demands[f].cap / demands[f].weight);
    }
    SIM_CHECK(std::isfinite(next), "every demand is limited by something");
    const double reached = next * (1 + 1e-13);
    for (std::size_t f = 0; f < demands.size(); ++f) {
      if (frozen[f]) continue;
      bool stops = demands[f].cap / demands[f].weight <= reached;
      for (const ResourceUse& use : demands[f].uses) {
        const std::size_t r = use.resource.index();
        stops = stops || std::max(0.0, free[r]) / rising[r] <= reached;
      }
      if (!stops) continue;
      frozen[f] = true;
      level[f] = next;
      --left;
    }
  }
  for (std::size_t f = 0; f < demands.size(); ++f) level[f] *= demands[f].weight;
  return level;
}

std::string max_min_violation(std::span<const double> capacities, std::span<const Demand> demands,
                              std::span<const double> rates, double relative_tolerance) {
  std::vector<double> load(capacities.size(), 0);
  std::vector<double> highest(capacities.size(), 0);
  for (std::size_t f = 0; f < demands.size(); ++f) {
    if (!(rates[f] >= 0)) return "rate " + std::to_string(f) + " is negative or NaN";
    for (const ResourceUse& use : demands[f].uses) {
      const std::size_t r = use.resource.index();
      load[r] += use.multiplier * rates[f];
      highest[r] = std::max(highest[r], rates[f] / demands[f].weight);
    }
  }
  for (std::size_t r = 0; r < capacities.size(); ++r) {
    if (load[r] > capacities[r] * (1 + relative_tolerance)) {
      return "resource " + std::to_string(r) + " carries " + std::to_string(load[r]) + " of " +
             std::to_string(capacities[r]);
    }
  }
  for (std::size_t f = 0; f < demands.size(); ++f) {
    if (rates[f] > demands[f].cap * (1 + relative_tolerance)) {
      return "demand " + std::to_string(f) + " is above its own cap";
    }
    bool held = rates[f] >= demands[f].cap * (1 - relative_tolerance);
    for (const ResourceUse& use : demands[f].uses) {
      const std::size_t r = use.resource.index();
      held = held || (load[r] >= capacities[r] * (1 - relative_tolerance) &&
                      rates[f] / demands[f].weight >= highest[r] * (1 - relative_tolerance));
    }
    if (!held) return "demand " + std::to_string(f) + " could be faster";
  }
  return {};
}

}  // namespace sim
