#include "sim/policies/disturbances/device_disturbance.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace sim {
namespace {

std::string time_text(Time time) { return format_duration(time.time_since_epoch()); }

std::string when_text(Time from, const std::optional<Time>& until) {
  std::string text;
  if (to_ps(from) > 0) text += " from " + time_text(from);
  if (until) text += " until " + time_text(*until);
  return text.empty() ? " all the time" : text;
}

std::string effect_text(const DeviceSlowdown& slow) {
  return fmt::format("{:.4g} times slower", slow.factor) + when_text(slow.from, slow.until);
}

std::string effect_text(const DeviceDrift& drift) {
  return fmt::format("slower by {:.4g} % of its speed per second, at most {:.4g} times",
                     drift.per_second * 100, drift.most) +
         when_text(drift.from, drift.until);
}

std::string effect_text(const KernelJitter& jitter) {
  std::string kernels;
  for (const std::string& kernel : jitter.kernels)
    kernels += (kernels.empty() ? "" : ", ") + kernel;
  return "kernel times vary, " + jitter.factor.text() + (kernels.empty() ? "" : ", of " + kernels) +
         when_text(jitter.from, jitter.until);
}

std::string effect_text(const DeviceStop& stop) {
  return "stops at " + time_text(stop.at) + ", time-out " + format_duration(stop.timeout);
}

}  // namespace

double FactorModel::draw(RandomStream& random) const {
  double factor = 1;
  switch (distribution) {
    case FactorDistribution::kLognormal:
      factor = std::exp(spread * random.normal());
      break;
    case FactorDistribution::kExponential:
      factor = 1 + spread * random.exponential();
      break;
    case FactorDistribution::kUniform:
      factor = least + (spread - least) * random.uniform();
      break;
  }
  return std::clamp(factor, kLeast, kMost);
}

std::string FactorModel::text() const {
  switch (distribution) {
    case FactorDistribution::kLognormal:
      return fmt::format("lognormal, sigma {:g}", spread);
    case FactorDistribution::kExponential:
      return fmt::format("exponential, mean {:g} more", spread);
    case FactorDistribution::kUniform:
      return fmt::format("uniform, {:g} to {:g} times", least, spread);
  }
  return "";
}

Time DeviceDisturbance::begin() const {
  if (const auto* slow = std::get_if<DeviceSlowdown>(&effect)) return slow->from;
  if (const auto* drift = std::get_if<DeviceDrift>(&effect)) return drift->from;
  if (const auto* jitter = std::get_if<KernelJitter>(&effect)) return jitter->from;
  return std::get<DeviceStop>(effect).at;
}

std::string DeviceDisturbance::text() const {
  const std::string what = std::visit([](const auto& each) { return effect_text(each); }, effect);
  return fmt::format("{} ({} GPU{}): {}", who, devices.size(), devices.size() == 1 ? "" : "s",
                     what);
}

}  // namespace sim
