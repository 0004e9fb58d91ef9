// Which ranks exchange how many token copies, and what of it crosses which port: of one exchange,
// in the direction of dispatch. Combine is its mirror image.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <vector>

#include "sim/core/port_body.h"
#include "sim/policies/collectives/exchange.h"
#include "sim/policies/collectives/ports_copies.h"
#include "sim/policies/collectives/ports_levels.h"

namespace sim {

// Token copies that cross a rank's resources. Its sends cross those named "out", its receives those
// named "in" and what it passes on.
enum PortCrossing {
  kScaleUpOut,  // to ranks of its domain
  kNicOut,
  kLeafOut,  // through its leaf's uplinks
  kScaleUpIn,
  kNicIn,
  kLeafIn,
  kPassedOn,        // sent on inside its domain as it comes in from outside
  kPassedOnInside,  // the same of what comes from inside: nodes of one domain
  kPortCrossings
};

struct PortPlan {
  PortPairs pairs;  // by sending endpoint; what is passed on is a pair with its last stop too
  std::vector<std::array<std::int64_t, kPortCrossings>> crossings;  // per rank
  struct PassedOn {
    std::int32_t relay_endpoint;  // where it comes in
    std::int32_t rank;
    auto operator<=>(const PassedOn&) const = default;
  };
  std::vector<PassedOn> passed_on;    // who gets anything through whom, ascending
  std::vector<PortDistance> nearest;  // per rank: peer outside its domain; kSelf: none
  std::vector<bool> in_domain;        // per rank: whether it has a peer inside its domain
};

PortPlan make_port_plan(const Exchange& exchange, const PortCopies& copies, const Cluster& cluster,
                        const PortLevels& levels);

}  // namespace sim
