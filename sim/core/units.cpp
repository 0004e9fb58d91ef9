#include "sim/core/units.h"

#include <array>
#include <cmath>
#include <cstdio>

#include "sim/core/error.h"

namespace sim {
namespace {

std::string with_unit(double value, const char* unit) {
  std::array<char, 64> text{};
  const double magnitude = std::fabs(value);
  const int decimals = magnitude >= 100 ? 0 : magnitude >= 10 ? 1 : 2;
  std::snprintf(text.data(), text.size(), "%.*f %s", decimals, value, unit);
  return text.data();
}

}  // namespace

Duration duration_from_seconds(double seconds) {
  constexpr double kLimit = 100.0 * 24 * 3600;
  if (std::isnan(seconds) || seconds < 0) {
    throw Error("a duration came out as " + std::to_string(seconds) + " s");
  }
  if (seconds > kLimit) {
    throw Error(
        "a duration of " + std::to_string(seconds) + " s is longer than the clock's 100 days",
        "is a rate or a size off by a unit?");
  }
  // 1e-9 s is 1000 ticks, not 1001, though 1e-9 * 1e12 is a hair above 1000 in binary.
  const double ticks = seconds * 1e12;
  const double nearest = std::round(ticks);
  if (std::fabs(ticks - nearest) <= nearest * 1e-15)
    return Duration(static_cast<std::int64_t>(nearest));
  return Duration(static_cast<std::int64_t>(std::ceil(ticks)));
}

Duration operator/(Bytes bytes, Bandwidth rate) {
  if (!(rate.count() > 0))
    throw Error("a bandwidth must be positive, not " + std::to_string(rate.count()));
  return duration_from_seconds(static_cast<double>(bytes.count()) / rate.count());
}

Duration operator/(Flops flops, FlopRate rate) {
  if (!(rate.count() > 0))
    throw Error("a flop rate must be positive, not " + std::to_string(rate.count()));
  return duration_from_seconds(flops.count() / rate.count());
}

std::string format_duration(Duration d) {
  const double s = to_seconds(d);
  const double m = std::fabs(s);
  if (m >= 1) return with_unit(s, "s");
  if (m >= 1e-3) return with_unit(s * 1e3, "ms");
  if (m >= 1e-6) return with_unit(s * 1e6, "us");
  if (m >= 1e-9 || d.count() == 0) return with_unit(s * 1e9, "ns");
  return std::to_string(d.count()) + " ps";
}

std::string format_bytes(Bytes b) {
  const double v = static_cast<double>(b.count());
  const double m = std::fabs(v);
  if (m >= 1024.0 * 1024 * 1024 * 1024) return with_unit(v / (1024.0 * 1024 * 1024 * 1024), "TiB");
  if (m >= 1024.0 * 1024 * 1024) return with_unit(v / (1024.0 * 1024 * 1024), "GiB");
  if (m >= 1024.0 * 1024) return with_unit(v / (1024.0 * 1024), "MiB");
  if (m >= 1024.0) return with_unit(v / 1024.0, "KiB");
  return std::to_string(b.count()) + " B";
}

std::string format_bandwidth(Bandwidth b) {
  const double v = b.count();
  if (v >= 1e12) return with_unit(v / 1e12, "TB/s");
  if (v >= 1e9) return with_unit(v / 1e9, "GB/s");
  if (v >= 1e6) return with_unit(v / 1e6, "MB/s");
  return with_unit(v, "B/s");
}

}  // namespace sim
