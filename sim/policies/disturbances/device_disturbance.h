// What happens to devices: slow from-until, slower and slower, a spread of kernel times, a rank
// that stops. Values only; device_disturbances.h lets them happen. Times count from the start of
// the run.
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

// A kernel takes `factor` times as long; of one that runs over an end of the window, the part
// inside.
struct DeviceSlowdown {
  double factor = 1;
  Time from;
  std::optional<Time> until;
};

// The speed falls by `per_second` of the full speed in each second, until kernels take `most` times
// as long; at `until` it is whole again.
struct DeviceDrift {
  double per_second = 0;
  double most = 1;
  Time from;
  std::optional<Time> until;
};

enum class FactorDistribution { kLognormal, kExponential, kUniform };

// A factor on the time of each kernel. By distribution:
//   lognormal    exp(spread * normal draw): median 1, so as often faster as slower
//   exponential  1 + an exponential draw with mean `spread`: never faster
//   uniform      from `least` to `spread`
// A draw outside [kLeast, kMost] counts as that end.
struct FactorModel {
  static constexpr double kLeast = 0.1;
  static constexpr double kMost = 100;
  FactorDistribution distribution = FactorDistribution::kLognormal;
  double least = 1;
  double spread = 0;

  double draw(RandomStream& random) const;
  std::string text() const;
};

struct KernelJitter {
  FactorModel factor;
  std::vector<std::int16_t> kinds;   // tag kinds that it is for; empty: all
  std::vector<std::string> kernels;  // and their names
  Time from;
  std::optional<Time> until;  // kernels that begin in [from, until)
};

// From `at` on the device begins nothing; `timeout` after the first other rank waited for it the
// run is aborted.
struct DeviceStop {
  Time at;
  Duration timeout{};
};

struct DeviceDisturbance {
  std::string who;  // as the user named the devices
  std::vector<DeviceId> devices;
  std::variant<DeviceSlowdown, DeviceDrift, KernelJitter, DeviceStop> effect;

  Time begin() const;        // when it first does something
  std::string text() const;  // one line: what, when, on which devices
};

}  // namespace sim
