// Time, bytes, flops and rates as types that only combine sensibly.
//
// Time is integer picoseconds (int64: +-106 days). Bytes are integral. Flops and rates are doubles
// because they only ever become times. Every conversion from a real number of seconds to a Duration
// goes through `duration_from_seconds`, which rounds up to a tick and rejects NaN, negative values
// and overflow.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>

namespace sim {

using Duration = std::chrono::duration<std::int64_t, std::pico>;

// The simulator's own clock; it starts at zero and has nothing to do with wall time.
struct SimClock {
  using duration = Duration;
  using rep = Duration::rep;
  using period = Duration::period;
  using time_point = std::chrono::time_point<SimClock, Duration>;
  static constexpr bool is_steady = true;
};
using Time = SimClock::time_point;

// Rounds up to a picosecond. Throws sim::Error when `seconds` is NaN, negative or above 100 days.
Duration duration_from_seconds(double seconds);
constexpr double to_seconds(Duration d) { return static_cast<double>(d.count()) * 1e-12; }
constexpr double to_seconds(Time t) { return to_seconds(t.time_since_epoch()); }
constexpr std::int64_t to_ps(Time t) { return t.time_since_epoch().count(); }

// A number with a unit; Tag separates units, Rep is its representation.
template <class Tag, class Rep>
class Quantity {
 public:
  constexpr Quantity() = default;
  constexpr explicit Quantity(Rep value) : value_(value) {}
  constexpr Rep count() const { return value_; }
  constexpr auto operator<=>(const Quantity&) const = default;
  constexpr Quantity operator+(Quantity o) const { return Quantity(value_ + o.value_); }
  constexpr Quantity operator-(Quantity o) const { return Quantity(value_ - o.value_); }
  constexpr Quantity& operator+=(Quantity o) {
    value_ += o.value_;
    return *this;
  }
  constexpr Quantity& operator-=(Quantity o) {
    value_ -= o.value_;
    return *this;
  }
  constexpr Quantity operator*(Rep factor) const { return Quantity(value_ * factor); }

 private:
  Rep value_{};
};

using Bytes = Quantity<struct BytesTag, std::int64_t>;
using Flops = Quantity<struct FlopsTag, double>;
using Bandwidth = Quantity<struct BandwidthTag, double>;  // bytes per second
using FlopRate = Quantity<struct FlopRateTag, double>;    // floating point operations per second

// Time to move or compute, rounded up to a tick. Throws sim::Error when the rate is not positive.
Duration operator/(Bytes bytes, Bandwidth rate);
Duration operator/(Flops flops, FlopRate rate);

constexpr Bandwidth gigabytes_per_second(double v) { return Bandwidth(v * 1e9); }

// Text for people: "12.3 us", "1.50 GiB", "450 GB/s".
std::string format_duration(Duration d);
std::string format_bytes(Bytes b);
std::string format_bandwidth(Bandwidth b);

}  // namespace sim
