#include "sim/core/device_speeds.h"

#include <gtest/gtest.h>

#include <optional>
#include <utility>
#include <vector>

#include "sim/core/task_graph.h"

namespace sim {
namespace {

constexpr CauseId kWork = 0, kNetwork = 1, kCongestion = 2, kStartup = 3, kLaunch = 4, kSlow = 5,
                  kJitter = 6;

// Kernels of device 0 take twice as long and 1 ps of jitter more; device 1 stops at a given time.
struct Speeds : DeviceSpeeds {
  std::optional<Time> stop_of_1;
  KernelTime time_of(DeviceId device, const TaskTag&, Time, Duration undisturbed) override {
    if (device != DeviceId(0)) return {undisturbed};
    return {2 * undisturbed + Duration(1), undisturbed, Duration(1)};
  }
  std::optional<Time> stops(DeviceId device) const override {
    return device == DeviceId(1) ? stop_of_1 : std::nullopt;
  }
};

struct TaskLog : Observer {
  std::vector<TaskSpan> kernels;
  void on_task(const TaskSpan& task) override {
    for_each_kernel(task, [this](const TaskSpan& kernel, Duration) { kernels.push_back(kernel); });
  }
};

struct Devices {
  EventLoop loop;
  TaskLog log;
  Speeds speeds;
  TaskGraph graph{loop, log, {kNetwork, kCongestion, kStartup, kLaunch, kSlow, kJitter}};
  std::vector<StreamId> compute, communication;

  explicit Devices(int count, std::optional<Time> stop_of_1 = std::nullopt) {
    speeds.stop_of_1 = stop_of_1;
    graph.set_speeds(&speeds);
    for (int d = 0; d < count; ++d) {
      compute.push_back(graph.add_stream(DeviceId(d), StreamKind::kCompute, Duration(5)));
      communication.push_back(
          graph.add_stream(DeviceId(d), StreamKind::kCommunication, Duration(0)));
    }
  }
  TaskId kernel(std::size_t device, std::int64_t ps, std::span<const TaskId> after = {}) {
    TaskSpec spec;
    spec.stream = compute[device];
    spec.tag = {7, 0, 0};
    spec.duration = Duration(ps);
    spec.shares[0] = {kWork, Duration(ps)};
    return graph.add_task(spec, after);
  }
  std::vector<TaskId> barrier(std::vector<std::vector<TaskId>> after, std::int16_t kind) {
    std::vector<PartSpec> parts;
    for (std::size_t d = 0; d < after.size(); ++d)
      parts.push_back({communication[d], after[d], HeldId(), 0});
    return graph.add_collective(
        {kind, 2, 0}, parts, [this, n = after.size()](CollectiveBody& body) {
          body.start = StartRule::kRendezvous;
          body.startup.assign(n, Duration(0));
          const ResourceId wire = graph.network().add_resource(Bandwidth(1e12));
          for (std::int32_t d = 0; d < static_cast<std::int32_t>(n); ++d) {
            const std::int32_t to = (d + 1) % static_cast<std::int32_t>(n);
            const ResourceUse path[] = {{wire, 1}};
            body.add({&d, 1}, {&to, 1}, Bytes(10), Duration(0), path);
          }
        });
  }
};

TEST(DeviceSpeeds, WhatADeviceAddsIsBookedUnderItsCause) {
  Devices w(2);
  const TaskId slow = w.kernel(0, 100);
  w.kernel(1, 100);
  CauseVector causes{};
  w.graph.when_done({&slow, 1}, [&](Time, const CauseVector& c) { causes = c; });
  w.loop.run();
  ASSERT_EQ(w.log.kernels.size(), 2u);
  EXPECT_EQ(to_ps(w.log.kernels[0].end), 100);  // the undisturbed one
  EXPECT_EQ(to_ps(w.log.kernels[1].end), 201);
  EXPECT_EQ(w.log.kernels[1].slow, Duration(100));
  EXPECT_EQ(w.log.kernels[1].jitter, Duration(1));
  EXPECT_EQ(causes[kWork], 100);
  EXPECT_EQ(causes[kSlow], 100);
  EXPECT_EQ(causes[kJitter], 1);
}

TEST(DeviceSpeeds, EveryKernelOfAChainIsDisturbed) {
  Devices w(1);
  KernelChain::Builder builder(Duration(5), kLaunch);
  const CauseShare work[] = {{kWork, Duration(0)}};
  builder.add({.kind = 3, .duration = Duration(100)}, Duration(0), work);
  builder.add({.kind = 4, .duration = Duration(10)}, Duration(0), work);
  const KernelChain chain = std::move(builder).build();
  TaskSpec spec;
  spec.stream = w.compute[0];
  spec.chain = &chain;
  const TaskId task = w.graph.add_task(spec, {});
  CauseVector causes{};
  w.graph.when_done({&task, 1}, [&](Time, const CauseVector& c) { causes = c; });
  w.loop.run();
  ASSERT_EQ(w.log.kernels.size(), 2u);
  EXPECT_EQ(to_ps(w.log.kernels[0].end), 201);
  EXPECT_EQ(to_ps(w.log.kernels[1].start), 206);
  EXPECT_EQ(to_ps(w.log.kernels[1].end), 227);
  EXPECT_EQ(w.log.kernels[1].slow, Duration(10));
  EXPECT_EQ(causes[kWork], 110);
  EXPECT_EQ(causes[kSlow], 110);
  EXPECT_EQ(causes[kJitter], 2);
  EXPECT_EQ(causes[kLaunch], 5);
}

// Device 1 stops at 50 while its first kernel runs: that one ends, the next never begins. Device 2
// comes to the second exchange at 80 and is the first to wait.
TEST(DeviceSpeeds, AStoppedDeviceBeginsNothingAndTheFirstToWaitIsNamed) {
  Devices w(3, Time(Duration(50)));
  const TaskId a = w.kernel(0, 100);
  const TaskId b = w.kernel(1, 60);
  const TaskId c = w.kernel(2, 80);
  w.kernel(1, 10);
  const auto met = w.barrier({{a}, {b}, {c}}, 9);
  w.kernel(0, 5, {&met[0], 1});
  w.loop.run();
  EXPECT_EQ(w.log.kernels.size(), 3u);
  EXPECT_EQ(to_ps(w.log.kernels[0].end), 60);
  const std::optional<TaskGraph::StoppedDevice> stopped = w.graph.stopped_device();
  ASSERT_TRUE(stopped.has_value());
  EXPECT_EQ(stopped->device, DeviceId(1));
  EXPECT_EQ(to_ps(stopped->stopped), 50);
  EXPECT_EQ(stopped->noticed_by, DeviceId(2));
  EXPECT_EQ(to_ps(stopped->waiting_since), 80);
  EXPECT_EQ(stopped->in.kind, 9);
}

TEST(DeviceSpeeds, WithoutAnExchangeNobodyNotices) {
  Devices w(2, Time(Duration(50)));
  w.kernel(0, 100);
  w.kernel(1, 60);
  w.kernel(1, 10);
  w.loop.run();
  const std::optional<TaskGraph::StoppedDevice> stopped = w.graph.stopped_device();
  ASSERT_TRUE(stopped.has_value());
  EXPECT_FALSE(stopped->noticed_by.valid());
  EXPECT_EQ(to_ps(stopped->waiting_since), 201);
}

TEST(DeviceSpeeds, ADeviceThatHasNothingLeftToDoHasNotStopped) {
  Devices w(2, Time(Duration(70)));
  w.kernel(1, 60);
  w.loop.run();
  EXPECT_FALSE(w.graph.stopped_device().has_value());
}

}  // namespace
}  // namespace sim
