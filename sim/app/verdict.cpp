#include <fmt/format.h>

#include <algorithm>

#include "analysis/summary.h"
#include "sim/app/explanation.h"

namespace sim {
namespace {

// Below this share of the step nothing but the kernels themselves is worth a sentence.
constexpr double kWorthSaying = 0.05;
// A link that bounds less of the network's time is one of many.
constexpr double kNamedPart = 0.2;
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
  const double own = share_of(worst.cost, e.time);
  std::string text = fmt::format(
      "The step waits for gpu {}, whose kernels take {:.2f}x their time {} ({} of the step)",
      worst.device.value(), worst.factor, when, percent(own));
  if (own < share * 0.9)
    text += fmt::format(", and for {} other slow devices ({} in all)", e.slow.size() - 1,
                        percent(share));
  return text + ".";
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
  if (share_of(link.time, e.time) < kNamedPart * share)
    return text + "; no link alone bounds more than a fifth of it.";
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
  const auto worth = [&](Duration time) { return share_of(time, e.time) >= kWorthSaying; };
  const Duration slow = time_of(Cause::kSlowDevice);
  const Duration jitter = time_of(Cause::kJitter);
  const Duration straggler = time_of(Cause::kTokenStraggler) + time_of(Cause::kGemmStraggler);
  const Duration network = time_of(Cause::kNetwork) + time_of(Cause::kCongestion);
  const Duration start = time_of(Cause::kStartup) + time_of(Cause::kLaunch);
  // A device that is not as it should be comes first, whatever is larger; start-ups come last, for
  // they are always there.
  std::string text;
  if (worth(slow) && !e.slow.empty()) {
    text = slow_text(e, share_of(slow, e.time));
  } else if (worth(std::max(straggler, network)) && straggler >= network) {
    for (const ExplainedCause& each : e.causes) {  // the larger of the two comes first
      if (each.cause != Cause::kTokenStraggler && each.cause != Cause::kGemmStraggler) continue;
      text = straggler_text(e, each.devices, share_of(straggler, e.time));
      break;
    }
  } else if (worth(network)) {
    text = network_text(e, share_of(network, e.time));
  } else if (worth(jitter)) {
    text = fmt::format("The step waits mostly for the spread of kernel times, {} of it.",
                       percent(share_of(jitter, e.time)));
  } else if (worth(start)) {
    text =
        fmt::format("The step waits mostly for {}, {} of it.",
                    time_of(Cause::kStartup) * 2 >= start ? "start-ups of collectives"
                                                          : "launches and the gaps between kernels",
                    percent(share_of(start, e.time)));
  }
  if (worth(e.pipeline_bubble)) {
    text += (text.empty() ? "" : " ") +
            fmt::format("Ranks wait {} of the step for other pipeline stages (mean over ranks).",
                        percent(share_of(e.pipeline_bubble, e.time)));
  }
  if (!text.empty()) return text;
  const ExplainedCause& first = e.causes.front();
  return fmt::format("Nothing that a step waits for reaches {} of it; most is {}, {}.",
                     percent(kWorthSaying), kCauseNames[static_cast<std::size_t>(first.cause)],
                     percent(share_of(first.time, e.time)));
}

}  // namespace sim
