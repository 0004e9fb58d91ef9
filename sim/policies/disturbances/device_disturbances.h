// Lets disturbances happen to the devices of one run: the task graph asks it about every kernel.
//
// Where several slowdowns and drifts hold at once the slowest counts; jitter multiplies the work
// before that. Each device draws its jitter from streams of its own, a draw per kernel that jitter
// is for, so that one device's kernels do not shift another's draws.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "sim/core/device_speeds.h"
#include "sim/policies/disturbances/device_disturbance.h"
#include "sim/policies/disturbances/speed_profile.h"

namespace sim {

class DeviceDisturbances : public DeviceSpeeds {
 public:
  // Keeps a reference. REQUIRES: at most SpeedProfile::kMostPieces slowdowns and drifts of one
  // device.
  DeviceDisturbances(const std::vector<DeviceDisturbance>& disturbances, std::size_t devices,
                     std::uint64_t seed);

  KernelTime time_of(DeviceId device, const TaskTag& kernel, Time start,
                     Duration undisturbed) override;
  std::optional<Time> stops(DeviceId device) const override { return state(device).stops; }
  Duration timeout(DeviceId device) const { return state(device).timeout; }

 private:
  struct Jitter {
    const KernelJitter* spec;
    RandomStream random;
  };
  struct State {
    std::optional<SpeedProfile> speed;
    std::vector<Jitter> jitters;
    std::optional<Time> stops;
    Duration timeout{};
  };
  const State& state(DeviceId device) const { return states_[device.index()]; }

  std::vector<State> states_;  // per device
};

}  // namespace sim
