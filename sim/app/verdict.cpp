#include <fmt/format.h>

#include <algorithm>

#include "analysis/summary.h"
#include "sim/app/explanation.h"

namespace sim {
namespace {

// Below this share of the step nothing but the kernels themselves is worth a sentence.
constexpr double kWorthSaying = 0.05;
// A link that has less of its kind's greatest capacity is said to be slow.
constexpr double kFullCapacity = 0.99;

double share_of(Duration part, Duration whole) {
  return whole > Duration(0) ? to_seconds(part) / to_seconds(whole) : 0;
}

std::string slow_text(const Explanation& e, double share) {
  const SlowDevice& worst = e.slow.front();
  const std::string when =
      worst.throughout
          ? "throughout"
          : fmt::format("from {} to {}", format_duration(worst.from.time_since_epoch()),
                        format_duration(worst.until.time_since_epoch()));
  return fmt::format(
      "The step waits mostly for gpu {}, whose kernels take {:.2f}x their time {} ({} of the "
      "step).",
      worst.device.value(), worst.factor, when, percent(share));
}

std::string straggler_text(const Explanation& e, const std::vector<CausePlace>& devices,
                           double share) {
  std::string text = fmt::format("The step waits mostly for stragglers, {} of it", percent(share));
  if (!devices.empty()) text += ", mostly for " + devices.front().name;
  if (!e.experts.empty()) {
    const BusyExpert& most = e.experts.front();
    text += fmt::format(": expert {} of layer {} has {:.2f}x the rows of a mean expert",
                        most.expert.value(), most.layer,
                        most.mean_rows > 0 ? static_cast<double>(most.rows) / most.mean_rows : 1);
  }
  return text + ".";
}

std::string network_text(const Explanation& e, double share) {
  std::string text = fmt::format("The step waits mostly for the network, {} of it", percent(share));
  if (e.links.empty()) return text + ".";
  const BoundingLink& link = e.links.front();
  text += ", mostly for " + link.name;
  if (link.known && link.capacity_share < kFullCapacity)
    text += fmt::format(", which has {:.2f}x the capacity of links like it", link.capacity_share);
  return text + ".";
}

}  // namespace

std::string verdict_of(const Explanation& e, const Scenario&) {
  const auto time_of = [&](Cause cause) {
    for (const ExplainedCause& each : e.causes) {
      if (each.cause == cause) return each.time;
    }
    return Duration(0);
  };
  const Duration slow = time_of(Cause::kSlowDevice) + time_of(Cause::kJitter);
  const Duration straggler = time_of(Cause::kTokenStraggler) + time_of(Cause::kGemmStraggler);
  const Duration network = time_of(Cause::kNetwork) + time_of(Cause::kCongestion);
  const Duration start = time_of(Cause::kStartup) + time_of(Cause::kLaunch);
  const Duration timeout = time_of(Cause::kTimeout);
  const Duration most = std::max({slow, straggler, network, start, timeout});
  const double share = share_of(most, e.time);
  if (share < kWorthSaying) {
    const ExplainedCause& first = e.causes.front();
    return fmt::format("Nothing that a step waits for reaches {} of it; most is {}, {}.",
                       percent(kWorthSaying), kCauseNames[static_cast<std::size_t>(first.cause)],
                       percent(share_of(first.time, e.time)));
  }
  if (most == timeout) {
    return fmt::format("The step waits mostly for a rank that has stopped, {} of it.",
                       percent(share));
  }
  if (most == slow && !e.slow.empty()) return slow_text(e, share);
  if (most == straggler) {
    for (const ExplainedCause& each : e.causes) {  // the larger of the two comes first
      if (each.cause == Cause::kTokenStraggler || each.cause == Cause::kGemmStraggler)
        return straggler_text(e, each.devices, share);
    }
  }
  if (most == network) return network_text(e, share);
  const Duration startup = time_of(Cause::kStartup);
  return fmt::format(
      "The step waits mostly for {}, {} of it.",
      startup * 2 >= start ? "start-ups of collectives" : "launches and the gaps between kernels",
      percent(share));
}

}  // namespace sim
