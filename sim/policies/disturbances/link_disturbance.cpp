#include "sim/policies/disturbances/link_disturbance.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace sim {
namespace {

std::string seconds_text(double seconds) { return format_duration(duration_from_seconds(seconds)); }

std::string when_text(Time from, const std::optional<Time>& until) {
  std::string text;
  if (to_ps(from) > 0) text += " from " + format_duration(from.time_since_epoch());
  if (until) text += " until " + format_duration(until->time_since_epoch());
  return text.empty() ? " all the time" : text;
}

std::string amount_text(const CapacityStep& step) {
  if (step.rate) return format_bandwidth(*step.rate);
  if (step.share == 0) return "none";
  return step.share == 1 ? "whole" : fmt::format("{:.4g} of its own", step.share);
}

std::string effect_text(const CapacitySchedule& schedule) {
  std::string text = "capacity ";
  constexpr std::size_t kShown = 4;
  for (std::size_t i = 0; i < schedule.steps.size() && i < kShown; ++i) {
    const CapacityStep& step = schedule.steps[i];
    text += (i == 0 ? "" : ", ") + amount_text(step);
    if (to_ps(step.at) > 0) text += " from " + format_duration(step.at.time_since_epoch());
  }
  if (schedule.steps.size() > kShown)
    text += fmt::format(" and {} more changes", schedule.steps.size() - kShown);
  if (schedule.reroute)
    text += "; new transfers detour after " + format_duration(*schedule.reroute);
  return text;
}

std::string effect_text(const BackgroundTraffic& traffic) {
  std::string text = "another tenant's load";
  if (traffic.cap) text += " of at most " + format_bandwidth(*traffic.cap);
  if (traffic.weight != 1) text += fmt::format(", weight {:g}", traffic.weight);
  if (traffic.on)
    text +=
        ", " + format_duration(*traffic.on) + " on and " + format_duration(*traffic.off) + " off";
  return text + when_text(traffic.from, traffic.until);
}

std::string effect_text(const LatencyJitter& jitter) {
  return "jitter, " + jitter.delay.text() + when_text(jitter.from, jitter.until);
}

}  // namespace

Duration DelayModel::draw(RandomStream& random) const {
  double seconds = 0;
  switch (distribution) {
    case DelayDistribution::kNormal:
      seconds = middle + spread * random.normal();
      break;
    case DelayDistribution::kLognormal:
      seconds = middle * std::exp(spread * random.normal());
      break;
    case DelayDistribution::kExponential:
      seconds = middle * random.exponential();
      break;
    case DelayDistribution::kPareto:
      seconds = middle * std::pow(1 - random.uniform(), -1 / spread);
      break;
    case DelayDistribution::kUniform:
      seconds = middle + (spread - middle) * random.uniform();
      break;
  }
  return duration_from_seconds(std::clamp(seconds, 0.0, kLongestDelay));
}

std::string DelayModel::text() const {
  const std::string first = seconds_text(middle);
  switch (distribution) {
    case DelayDistribution::kNormal:
      return "normal, mean " + first + ", deviation " + seconds_text(spread);
    case DelayDistribution::kLognormal:
      return "lognormal, median " + first + fmt::format(", sigma {:g}", spread);
    case DelayDistribution::kExponential:
      return "exponential, mean " + first;
    case DelayDistribution::kPareto:
      return "pareto, least " + first + fmt::format(", shape {:g}", spread);
    case DelayDistribution::kUniform:
      return "uniform, " + first + " to " + seconds_text(spread);
  }
  return "";
}

Time LinkDisturbance::begin() const {
  if (const auto* schedule = std::get_if<CapacitySchedule>(&effect)) return schedule->steps[0].at;
  if (const auto* traffic = std::get_if<BackgroundTraffic>(&effect)) return traffic->from;
  return std::get<LatencyJitter>(effect).from;
}

std::string LinkDisturbance::text() const {
  const std::string what = std::visit([](const auto& each) { return effect_text(each); }, effect);
  return fmt::format("{} ({} link{}): {}", pattern, links.size(), links.size() == 1 ? "" : "s",
                     what);
}

}  // namespace sim
