#include "sim/policies/disturbances/device_disturbances.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

namespace sim {
namespace {

constexpr double kNever = std::numeric_limits<double>::infinity();
double ps(Time time) { return static_cast<double>(to_ps(time)); }
double end_ps(const std::optional<Time>& until) { return until ? ps(*until) : kNever; }

void add_pieces(const DeviceSlowdown& slow, std::vector<SpeedProfile::Piece>& pieces) {
  pieces.push_back({ps(slow.from), end_ps(slow.until), 1 / slow.factor, 0});
}

// Down to the lowest speed, and along it.
void add_pieces(const DeviceDrift& drift, std::vector<SpeedProfile::Piece>& pieces) {
  const double slope = -drift.per_second * 1e-12;
  const double reached = ps(drift.from) + (1 - 1 / drift.most) / -slope;
  const double end = end_ps(drift.until);
  pieces.push_back({ps(drift.from), std::min(reached, end), 1, slope});
  if (reached < end) pieces.push_back({reached, end, 1 / drift.most, 0});
}

}  // namespace

DeviceDisturbances::DeviceDisturbances(const std::vector<DeviceDisturbance>& disturbances,
                                       std::size_t devices, std::uint64_t seed)
    : states_(devices) {
  std::vector<std::vector<SpeedProfile::Piece>> pieces(devices);
  for (std::size_t i = 0; i < disturbances.size(); ++i) {
    for (const DeviceId device : disturbances[i].devices) {
      State& state = states_[device.index()];
      if (const auto* slow = std::get_if<DeviceSlowdown>(&disturbances[i].effect))
        add_pieces(*slow, pieces[device.index()]);
      if (const auto* drift = std::get_if<DeviceDrift>(&disturbances[i].effect))
        add_pieces(*drift, pieces[device.index()]);
      if (const auto* jitter = std::get_if<KernelJitter>(&disturbances[i].effect)) {
        state.jitters.push_back(
            {jitter, RandomStream(seed, "disturbance/" + std::to_string(i) + "/device/" +
                                            std::to_string(device.value()) + "/jitter")});
      }
      if (const auto* stop = std::get_if<DeviceStop>(&disturbances[i].effect)) {
        if (state.stops && *state.stops <= stop->at) continue;
        state.stops = stop->at;
        state.timeout = stop->timeout;
      }
    }
  }
  for (std::size_t d = 0; d < devices; ++d) {
    if (!pieces[d].empty()) states_[d].speed.emplace(pieces[d]);
  }
}

KernelTime DeviceDisturbances::time_of(DeviceId device, const TaskTag& kernel, Time start,
                                       Duration undisturbed) {
  State& state = states_[device.index()];
  double factor = 1;
  for (Jitter& jitter : state.jitters) {
    const KernelJitter& spec = *jitter.spec;
    const bool named = spec.kinds.empty() || std::find(spec.kinds.begin(), spec.kinds.end(),
                                                       kernel.kind) != spec.kinds.end();
    if (!named || start < spec.from || (spec.until && start >= *spec.until)) continue;
    factor *= spec.factor.draw(jitter.random);
  }
  const Duration work =
      factor == 1 ? undisturbed
                  : Duration(std::llround(static_cast<double>(undisturbed.count()) * factor));
  const Duration whole = state.speed ? state.speed->time_of(start, work) : work;
  return {whole, whole - work, work - undisturbed};
}

}  // namespace sim
