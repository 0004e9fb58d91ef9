#include "sim/policies/disturbances/device_disturbances.h"

#include <gtest/gtest.h>

#include <cmath>
#include <optional>
#include <vector>

namespace sim {
namespace {

constexpr std::int64_t kMs = 1'000'000'000;  // picoseconds
Time at_ms(double ms) { return Time(Duration(static_cast<std::int64_t>(ms * kMs))); }
Duration ms(double count) { return Duration(static_cast<std::int64_t>(count * kMs)); }

template <class Effect>
DeviceDisturbance on_gpu_0(Effect effect) {
  return {"gpu 0", {DeviceId(0)}, effect};
}

TaskTag kernel(std::int16_t kind = 3) { return {kind, 0, 0}; }

TEST(DeviceDisturbances, AWindowCountsForThePartOfAKernelInsideIt) {
  const std::vector<DeviceDisturbance> list = {on_gpu_0(DeviceSlowdown{2, at_ms(10), at_ms(20)})};
  DeviceDisturbances speeds(list, 2, 1);
  const auto slow = [&](double start, double length) {
    const KernelTime time = speeds.time_of(DeviceId(0), kernel(), at_ms(start), ms(length));
    EXPECT_EQ(time.duration, ms(length) + time.slow);
    EXPECT_EQ(time.jitter, Duration(0));
    return time.slow;
  };
  EXPECT_EQ(slow(1, 9), ms(0));
  EXPECT_EQ(slow(20, 9), ms(0));
  EXPECT_EQ(slow(10, 3), ms(3));
  EXPECT_EQ(slow(8, 4), ms(2));    // 2 outside, 2 of work inside take 4
  EXPECT_EQ(slow(18, 4), ms(1));   // 1 of work inside takes 2, then 3
  EXPECT_EQ(slow(5, 100), ms(5));  // the whole window does 5 of work in 10
  EXPECT_EQ(speeds.time_of(DeviceId(1), kernel(), at_ms(12), ms(3)).duration, ms(3));
}

TEST(DeviceDisturbances, TheSlowestOfSeveralHolds) {
  const std::vector<DeviceDisturbance> list = {
      on_gpu_0(DeviceSlowdown{2, at_ms(0), std::nullopt}),
      on_gpu_0(DeviceSlowdown{4, at_ms(10), at_ms(18)}),
      on_gpu_0(DeviceDrift{100, 3, at_ms(0), std::nullopt})};
  DeviceDisturbances speeds(list, 1, 1);
  // 4 times from 10 to 18; before the drift passes the factor 2 at 5 ms the slowdown holds, then
  // the drift, which reaches 3 at 6.67 ms.
  EXPECT_EQ(speeds.time_of(DeviceId(0), kernel(), at_ms(1), ms(1)).duration, ms(2));
  EXPECT_EQ(speeds.time_of(DeviceId(0), kernel(), at_ms(10), ms(1)).duration, ms(4));
  EXPECT_EQ(speeds.time_of(DeviceId(0), kernel(), at_ms(20), ms(1)).duration, ms(3));
}

// The speed is 1 - 0.02 t from 1 ms on (t in ms) until 0.5, so work w takes the t with
// t - 0.01 t^2 = w; 25 ms after the begin a kernel takes twice as long.
TEST(DeviceDisturbances, ADriftIsIntegrated) {
  const std::vector<DeviceDisturbance> list = {on_gpu_0(DeviceDrift{20, 2, at_ms(1), at_ms(101)})};
  DeviceDisturbances speeds(list, 1, 1);
  const double root = (1 - std::sqrt(1 - 4 * 0.01 * 9)) / 0.02;
  const KernelTime first = speeds.time_of(DeviceId(0), kernel(), at_ms(1), ms(9));
  EXPECT_NEAR(static_cast<double>(first.duration.count()), root * kMs, 2);
  EXPECT_EQ(speeds.time_of(DeviceId(0), kernel(), at_ms(30), ms(5)).duration, ms(10));
  EXPECT_EQ(speeds.time_of(DeviceId(0), kernel(), at_ms(101), ms(5)).duration, ms(5));
  // Over all of it: 25 - 6.25 of work while it falls, 37.5 at half speed, then whole again.
  EXPECT_EQ(speeds.time_of(DeviceId(0), kernel(), at_ms(1), ms(18.75 + 37.5 + 4)).duration,
            ms(104));
}

TEST(DeviceDisturbances, JitterIsDrawnPerDeviceForTheKernelsItNames) {
  KernelJitter jitter;
  jitter.factor = {FactorDistribution::kLognormal, 1, 0.1};
  jitter.kinds = {7};
  jitter.until = at_ms(50);
  DeviceDisturbance disturbance = {"all", {DeviceId(0), DeviceId(1)}, jitter};
  const std::vector<DeviceDisturbance> list = {disturbance};
  DeviceDisturbances alone(list, 2, 42);
  DeviceDisturbances beside(list, 2, 42);
  double sum = 0;
  double squares = 0;
  int faster = 0;
  constexpr int kDraws = 4000;
  for (int i = 0; i < kDraws; ++i) {
    const KernelTime time = alone.time_of(DeviceId(0), kernel(7), at_ms(1), ms(1));
    beside.time_of(DeviceId(1), kernel(7), at_ms(1), ms(1));
    EXPECT_EQ(beside.time_of(DeviceId(0), kernel(6), at_ms(1), ms(1)).duration, ms(1));
    ASSERT_EQ(beside.time_of(DeviceId(0), kernel(7), at_ms(1), ms(1)).duration, time.duration);
    ASSERT_EQ(time.duration, ms(1) + time.jitter);
    const double log = std::log(static_cast<double>(time.duration.count()) / kMs);
    sum += log;
    squares += log * log;
    faster += time.jitter < Duration(0) ? 1 : 0;
  }
  EXPECT_NEAR(sum / kDraws, 0, 0.01);
  EXPECT_NEAR(std::sqrt(squares / kDraws), 0.1, 0.01);
  EXPECT_NEAR(faster, kDraws / 2, 150);
  EXPECT_EQ(alone.time_of(DeviceId(0), kernel(7), at_ms(50), ms(1)).duration, ms(1));
}

TEST(DeviceDisturbances, TheFirstStopOfADeviceCounts) {
  const std::vector<DeviceDisturbance> list = {on_gpu_0(DeviceStop{at_ms(9), ms(2)}),
                                               on_gpu_0(DeviceStop{at_ms(5), ms(3)})};
  const DeviceDisturbances speeds(list, 2, 1);
  EXPECT_EQ(speeds.stops(DeviceId(0)), at_ms(5));
  EXPECT_EQ(speeds.timeout(DeviceId(0)), ms(3));
  EXPECT_FALSE(speeds.stops(DeviceId(1)).has_value());
}

TEST(DeviceDisturbances, TheirLinesSayWhatWhenAndWhere) {
  EXPECT_EQ(on_gpu_0(DeviceSlowdown{1.3, at_ms(10), at_ms(50)}).text(),
            "gpu 0 (1 GPU): 1.3 times slower from 10.0 ms until 50.0 ms");
  EXPECT_EQ(
      on_gpu_0(DeviceDrift{0.5, 1.4, at_ms(1), std::nullopt}).text(),
      "gpu 0 (1 GPU): slower by 50 % of its speed per second, at most 1.4 times from 1.00 ms");
  EXPECT_EQ(on_gpu_0(DeviceStop{at_ms(5), ms(30'000)}).text(),
            "gpu 0 (1 GPU): stops at 5.00 ms, time-out 30.0 s");
}

}  // namespace
}  // namespace sim
