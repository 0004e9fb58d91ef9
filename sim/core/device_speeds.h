// How a device's kernels differ from an undisturbed device's: what the task graph asks when one
// begins. The core knows no reasons; policies do (sim/policies/disturbances).
#pragma once

#include <optional>

#include "sim/core/observer.h"

namespace sim {

class DeviceSpeeds {
 public:
  virtual ~DeviceSpeeds() = default;
  // What a kernel on a compute stream takes that begins at `start` and would take `undisturbed`.
  // Asked once per kernel, in the order in which the device's stream begins them. REQUIRES of the
  // answer: duration is undisturbed + slow + jitter and not negative.
  virtual KernelTime time_of(DeviceId device, const TaskTag& kernel, Time start,
                             Duration undisturbed) = 0;
  // From then on no stream of the device begins anything; none: it never stops.
  virtual std::optional<Time> stops(DeviceId device) const = 0;
};

}  // namespace sim
