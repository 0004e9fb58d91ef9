#include "sim/core/path_log.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <vector>

#include "sim/core/random.h"
#include "sim/core/task_graph.h"

namespace sim {
namespace {

constexpr CauseId kWork = 0, kNetwork = 1, kCongestion = 2, kStartup = 3, kLaunch = 4;

std::int64_t sum(const CauseVector& causes) {
  return std::accumulate(causes.begin(), causes.end(), std::int64_t{0});
}

struct Devices {
  EventLoop loop;
  Observer observer;
  PathLog log;
  TaskGraph graph{loop, observer, {kNetwork, kCongestion, kStartup, kLaunch}};
  std::vector<StreamId> compute, communication;
  std::vector<HeldId> sms;
  std::vector<ResourceId> out, in;

  explicit Devices(int count) {
    graph.set_path_log(&log);
    for (int d = 0; d < count; ++d) {
      compute.push_back(graph.add_stream(DeviceId(d), StreamKind::kCompute, Duration(5)));
      communication.push_back(
          graph.add_stream(DeviceId(d), StreamKind::kCommunication, Duration(0)));
      sms.push_back(graph.add_held(10));
      out.push_back(graph.network().add_resource(Bandwidth(1e12)));
      in.push_back(graph.network().add_resource(Bandwidth(1e12)));
    }
  }
  TaskId kernel(std::size_t device, std::int64_t ps, std::span<const TaskId> after,
                std::int64_t sms_held = 0) {
    TaskSpec spec;
    spec.stream = compute[device];
    spec.tag = {7, 0, 0};
    spec.duration = Duration(ps);
    spec.shares[0] = {kWork, Duration(ps)};
    spec.held = sms[device];
    spec.held_amount = sms_held;
    return graph.add_task(spec, after);
  }
};

// Random kernels, exchanges with stages, held SMs and callbacks that let the graph grow; several
// steps one after another.
void random_steps(std::uint64_t seed) {
  static constexpr std::size_t kDevices = 5;
  RandomStream random(seed, "path log");
  Devices w(kDevices);
  int steps_ended = 0;
  Time begin;
  std::vector<TaskId> last(kDevices);
  const auto ended = [&](Time end, const CauseVector& causes) {
    ++steps_ended;
    const std::vector<PathSegment> path = critical_path(w.log, w.log.last());
    ASSERT_FALSE(path.empty());
    Time at = begin;
    CauseVector total{};
    for (const PathSegment& segment : path) {
      ASSERT_EQ(segment.since, at) << "seed " << seed;
      at = segment.record.end;
      ASSERT_EQ(sum(segment.own), (segment.record.end - segment.since).count());
      for (std::size_t c = 0; c < total.size(); ++c) {
        ASSERT_GE(segment.own[c], 0);
        total[c] += segment.own[c];
      }
      if (!segment.record.is_part) {
        ASSERT_GE(segment.record.start, segment.since);
      } else if (segment.own[kNetwork] > 0) {
        ASSERT_TRUE(segment.record.tightest_of_all.valid());
      }
    }
    ASSERT_EQ(at, end);
    ASSERT_EQ(total, causes);
    ASSERT_EQ(sum(causes), (end - begin).count());
  };
  std::function<void(int)> add = [&](int rounds_left) {
    for (std::size_t d = 0; d < kDevices; ++d) {
      const std::uint64_t kernels = random.below(4);
      for (std::uint64_t k = 0; k < kernels; ++k) {
        const TaskId after[] = {last[d], last[random.below(kDevices)]};
        last[d] = w.kernel(d, static_cast<std::int64_t>(random.below(300)), after,
                           random.below(2) == 0 ? 10 : 4);
      }
    }
    std::vector<PartSpec> parts(kDevices);
    for (std::size_t d = 0; d < kDevices; ++d)
      parts[d] = {w.communication[d], {last[d]}, w.sms[d], 3};
    const bool staged = random.below(2) == 0;
    const bool rendezvous = random.below(2) == 0;
    const std::int64_t bytes = 1 + static_cast<std::int64_t>(random.below(400));
    last = w.graph.add_collective(
        {9, 1, 0}, parts, [&w, staged, rendezvous, bytes](CollectiveBody& body) {
          body.start = rendezvous ? StartRule::kRendezvous : StartRule::kOneSided;
          body.startup.assign(kDevices, Duration(20));
          if (staged) {
            const StageId first = body.add_stage({Duration(0), {-1, -1}});
            body.add_stage({Duration(10), {first, -1}});
          }
          for (std::size_t d = 0; d < kDevices; ++d) {
            const std::size_t to = (d + 1 + static_cast<std::size_t>(bytes) % 3) % kDevices;
            const std::int32_t sender = static_cast<std::int32_t>(d);
            const std::int32_t receiver = static_cast<std::int32_t>(to);
            const ResourceUse path[] = {{w.out[d], 1}, {w.in[to], 1}};
            body.add({&sender, 1}, {&receiver, 1}, Bytes(bytes), Duration(0), path,
                     staged && d % 2 == 0 ? StageId{1} : StageId{0});
          }
        });
    if (rounds_left > 0) {
      if (random.below(2) == 0) {
        add(rounds_left - 1);
      } else {
        w.graph.when_done(last,
                          [&add, rounds_left](Time, const CauseVector&) { add(rounds_left - 1); });
      }
      return;
    }
    w.graph.when_done(last, [&](Time end, const CauseVector& causes) {
      ended(end, causes);
      if (steps_ended == 3) return;
      begin = end;
      w.graph.mark_step_begin();
      last.assign(kDevices, TaskId{});
      add(2);
    });
  };
  add(3);
  w.loop.run();
  EXPECT_EQ(steps_ended, 3);
  EXPECT_EQ(w.log.kept(), 0u);
}

TEST(PathLog, TheCriticalPathFillsAStepAndItsCausesAddUp) {
  for (std::uint64_t seed = 0; seed < 300; ++seed) random_steps(seed);
}

// Device 1 works for 90, then both exchange 20 bytes, of which device 0's link is the slower one;
// device 0 ends with a kernel of 30.
TEST(PathLog, APathIsWalkedThroughWhomItWaitedFor) {
  Devices w(2);
  w.graph.network().set_capacity(w.out[0], Bandwidth(5e11));
  const TaskId early = w.kernel(0, 10, {});
  const TaskId late = w.kernel(1, 90, {});
  std::vector<PartSpec> parts = {{w.communication[0], {early}, HeldId(), 0},
                                 {w.communication[1], {late}, HeldId(), 0}};
  const std::vector<TaskId> exchanged =
      w.graph.add_collective({9, 4, 0}, parts, [&](CollectiveBody& body) {
        body.start = StartRule::kRendezvous;
        body.startup.assign(2, Duration(3));
        for (std::int32_t d = 0; d < 2; ++d) {
          const std::int32_t to = 1 - d;
          const ResourceUse path[] = {{w.out[static_cast<std::size_t>(d)], 1},
                                      {w.in[static_cast<std::size_t>(to)], 1}};
          body.add({&d, 1}, {&to, 1}, Bytes(20), Duration(0), path);
        }
      });
  const TaskId end = w.kernel(0, 30, {&exchanged[0], 1});
  std::vector<PathSegment> path;
  w.graph.when_done({&end, 1}, [&](Time, const CauseVector&) {
    path = critical_path(w.log, w.log.last());
    EXPECT_LE(w.log.kept(), 4u);  // early ended and nothing goes back to it alone
  });
  w.loop.run();
  ASSERT_EQ(path.size(), 3u);
  EXPECT_EQ(path[0].record.device, DeviceId(1));
  EXPECT_EQ(path[0].own[kWork], 90);
  const PathRecord& part = path[1].record;
  EXPECT_TRUE(part.is_part);
  EXPECT_EQ(part.device, DeviceId(0));
  EXPECT_EQ(part.from, DeviceId(1));
  EXPECT_EQ(to_ps(part.start), 10);
  EXPECT_EQ(to_ps(part.from_entered), 90);
  EXPECT_EQ(to_ps(path[1].since), 90);
  EXPECT_EQ(path[1].own[kStartup], 3);
  EXPECT_EQ(path[1].own[kNetwork], 40);
  EXPECT_EQ(part.tightest, w.out[0]);
  EXPECT_EQ(part.tightest_of_all, w.out[0]);
  EXPECT_EQ(part.tag.layer, 4);
  EXPECT_EQ(path[2].own[kWork], 30);
  EXPECT_EQ(to_ps(path[2].record.end), 163);
}

}  // namespace
}  // namespace sim
