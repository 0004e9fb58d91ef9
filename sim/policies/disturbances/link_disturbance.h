// What happens to links from outside the run: lost capacity, failures, another tenant's load,
// jitter. Values only; link_disturbances.h lets them happen. Times count from the start of the run.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "sim/core/id.h"
#include "sim/core/random.h"
#include "sim/core/units.h"

namespace sim {

// From `at` on, a share of the link's own capacity or, with `rate`, so many bytes per second. Zero
// is a failed link: transfers over it wait.
struct CapacityStep {
  Time at;
  double share = 1;
  std::optional<Bandwidth> rate;
};

struct CapacitySchedule {
  std::vector<CapacityStep> steps;  // times ascend; before the first one the link is whole
  // So long after a failure, new transfers take another path while the link is down, where there is
  // one. None: nobody notices.
  std::optional<Duration> reroute;
};

// On each link for itself a load that takes its max-min share of it.
struct BackgroundTraffic {
  Time from;
  std::optional<Time> until;
  double weight = 1;             // share weight; a transfer of the run has 1
  std::optional<Bandwidth> cap;  // takes no more than this
  std::optional<Duration> on;    // together with `off`: phases, the first from `from` on
  std::optional<Duration> off;
};

enum class DelayDistribution { kNormal, kLognormal, kExponential, kPareto, kUniform };

// Time that a transfer waits before its first byte. By distribution:
//   normal       middle = mean, spread = standard deviation in seconds; below zero counts as zero
//   lognormal    middle = median, spread = standard deviation of the logarithm
//   exponential  middle = mean
//   pareto       middle = least value, spread = shape (tail exponent)
//   uniform      middle = least value, spread = most in seconds
// A draw above kLongestDelay counts as that.
struct DelayModel {
  static constexpr double kLongestDelay = 1;  // seconds
  DelayDistribution distribution = DelayDistribution::kNormal;
  double middle = 0;
  double spread = 0;

  Duration draw(RandomStream& random) const;
  std::string text() const;  // "lognormal, median 2 us, sigma 0.5"
};

// Every transfer over at least one of the links that begins in [from, until) waits one draw.
struct LatencyJitter {
  Time from;
  std::optional<Time> until;
  DelayModel delay;
};

struct LinkDisturbance {
  std::string pattern;  // as the user named the links
  std::vector<LinkId> links;
  std::variant<CapacitySchedule, BackgroundTraffic, LatencyJitter> effect;

  Time begin() const;        // when it first does something
  std::string text() const;  // one line: what, when, on which links
};

}  // namespace sim
