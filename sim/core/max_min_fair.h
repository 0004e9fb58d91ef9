// Max-min fair sharing, the obvious way: the oracle that tests hold the running solver against.
//
// A transfer f gets rate weight_f * level_f. It loads every resource it uses with multiplier *
// rate. Levels rise together from zero; when a resource is full (or a transfer reaches its own cap)
// the levels of its transfers freeze. This is progressive filling: Bertsekas & Gallager, "Data
// Networks", 2nd ed., section 6.5.2. O(rounds * uses).
#pragma once

#include <limits>
#include <span>
#include <string>
#include <vector>

#include "sim/core/id.h"

namespace sim {

// Bytes on the resource per byte of payload: 2 for a forward that is duplicated there.
struct ResourceUse {
  ResourceId resource;
  double multiplier = 1;
};

struct Demand {
  std::vector<ResourceUse> uses;
  double weight = 1;                                     // share weight (priority), > 0
  double cap = std::numeric_limits<double>::infinity();  // rate limit of its own, bytes/s
};

// Rates in bytes/s, one per demand. REQUIRES: every demand has a use or a finite cap; multipliers
// and weights > 0.
std::vector<double> max_min_fair(std::span<const double> capacities,
                                 std::span<const Demand> demands);

// The certificate: "" when `rates` are max-min fair, else the first violation in words. Rates are
// fair when no resource carries more than its capacity and every demand has a full resource (or its
// cap) on which nobody's level is higher.
std::string max_min_violation(std::span<const double> capacities, std::span<const Demand> demands,
                              std::span<const double> rates, double relative_tolerance);

}  // namespace sim
