#include "sim/core/task_graph.h"

#include <gtest/gtest.h>

#include <numeric>
#include <tuple>

namespace sim {
namespace {

constexpr CauseId kWork = 0, kNetwork = 1, kCongestion = 2, kStartup = 3, kLaunch = 4,
                  kStraggler = 5;

struct Log : Observer {
  std::vector<TaskSpan> tasks;
  std::vector<PartSpan> parts;
  std::vector<StreamWait> waits;
  void on_task(const TaskSpan& r) override { tasks.push_back(r); }
  void on_part(const PartSpan& r) override { parts.push_back(r); }
  void on_wait(const StreamWait& r) override { waits.push_back(r); }
};

struct World {
  EventLoop loop;
  Log log;
  TaskGraph graph{loop, log, {kNetwork, kCongestion, kStartup, kLaunch}};
  std::vector<StreamId> compute, comm;
  std::vector<ResourceId> up, down;

  explicit World(int devices, Duration gap = Duration(0), double bytes_per_s = 1e12) {
    for (int d = 0; d < devices; ++d) {
      compute.push_back(graph.add_stream(DeviceId(d), StreamKind::kCompute, gap));
      comm.push_back(graph.add_stream(DeviceId(d), StreamKind::kCommunication, Duration(0)));
      up.push_back(graph.network().add_resource(Bandwidth(bytes_per_s)));
      down.push_back(graph.network().add_resource(Bandwidth(bytes_per_s)));
    }
  }
  TaskId kernel(int device, std::int64_t ps, std::vector<TaskId> after = {}, int layer = 0) {
    TaskSpec spec;
    spec.stream = compute[static_cast<std::size_t>(device)];
    spec.duration = Duration(ps);
    spec.shares[0] = {kWork, Duration(ps)};
    spec.tag = {0, static_cast<std::int16_t>(layer), 0};
    return graph.add_task(spec, after);
  }
  // Pair transfers (from, to, bytes); 1 byte takes 1 ps on an idle link.
  std::vector<TaskId> exchange(std::vector<std::vector<TaskId>> after,
                               std::vector<std::array<int, 3>> pairs,
                               StartRule rule = StartRule::kOneSided,
                               Duration startup = Duration(0)) {
    std::vector<PartSpec> parts(after.size());
    for (std::size_t p = 0; p < after.size(); ++p) parts[p] = {comm[p], after[p], HeldId(), 0};
    return graph.add_collective({1, 0, 0}, parts, [=, this](CollectiveBody& body) {
      body.start = rule;
      body.startup.assign(parts.size(), startup);
      for (const auto& [from, to, bytes] : pairs) {
        const std::vector<ResourceUse> path = {{up[static_cast<std::size_t>(from)], 1},
                                               {down[static_cast<std::size_t>(to)], 1}};
        const std::int32_t sender = from, receiver = to;
        body.add({&sender, 1}, {&receiver, 1}, Bytes(bytes), Duration(0), path);
      }
    });
  }
};

std::int64_t sum(const CauseVector& causes) {
  return std::accumulate(causes.begin(), causes.end(), std::int64_t{0});
}

TEST(TaskGraph, AStreamRunsInOrderAndDependenciesHold) {
  World w(2);
  const TaskId a = w.kernel(0, 100);
  const TaskId b = w.kernel(1, 30);
  w.kernel(1, 10, {a});  // waits for device 0 though its stream is free at 30
  w.kernel(1, 5);        // in order behind it
  w.loop.run();
  ASSERT_EQ(w.log.tasks.size(), 4u);
  EXPECT_EQ(to_ps(w.log.tasks[0].end), 30);
  EXPECT_EQ(to_ps(w.log.tasks[2].start), 100);
  EXPECT_EQ(to_ps(w.log.tasks[3].start), 110);
  EXPECT_EQ(to_ps(w.log.tasks[3].end), 115);
  EXPECT_EQ(w.graph.unfinished(), 0u);
  (void)b;
}

TEST(TaskGraph, CausesOfTheLastPathAddUpToTheEnd) {
  World w(2);
  TaskSpec slow;
  slow.stream = w.compute[1];
  slow.duration = Duration(70);
  slow.shares[0] = {kWork, Duration(50)};
  slow.shares[1] = {kStraggler, Duration(20)};
  const TaskId a = w.kernel(0, 50);
  const TaskId b = w.graph.add_task(slow, {});
  const auto parts =
      w.exchange({{a}, {b}}, {{{0, 1, 100}}, {{1, 0, 40}}}, StartRule::kOneSided, Duration(7));
  const TaskId end0 = w.kernel(0, 11, {parts[0]});
  const TaskId end1 = w.kernel(1, 1, {parts[1]});
  CauseVector causes{};
  Time end;
  const std::vector<TaskId> all = {end0, end1};
  w.graph.when_done(all, [&](Time t, const CauseVector& c) {
    end = t;
    causes = c;
  });
  w.loop.run();
  // Rank 0 is ready at 57, its bytes arrive at 157; rank 1 is ready at 77, its 40 bytes arrive at
  // 117. Rank 0's part waits for its own send too: both parts end at 157, released by rank 0's
  // transfer. Rank 0 ends at 168, rank 1 at 158.
  EXPECT_EQ(to_ps(end), 168);
  EXPECT_EQ(sum(causes), 168);
  EXPECT_EQ(causes[kWork], 50 + 11);
  EXPECT_EQ(causes[kStartup], 7);
  EXPECT_EQ(causes[kNetwork], 100);
  EXPECT_EQ(causes[kStraggler], 0);
  ASSERT_EQ(w.log.parts.size(), 2u);
}

TEST(TaskGraph, AStragglerShowsOnThePathAndInTheWaits) {
  World w(2);
  const TaskId a = w.kernel(0, 10);
  const TaskId b = w.kernel(1, 90);
  const auto parts = w.exchange({{a}, {b}}, {{{0, 1, 20}}, {{1, 0, 20}}});
  const TaskId end0 = w.kernel(0, 5, {parts[0]}, 3);
  w.kernel(1, 5, {parts[1]});
  CauseVector causes{};
  const std::vector<TaskId> all = {end0};
  w.graph.when_done(all, [&](Time, const CauseVector& c) { causes = c; });
  w.loop.run();
  EXPECT_EQ(causes[kWork], 95);  // through rank 1's kernel
  EXPECT_EQ(causes[kNetwork], 20);
  // Rank 0 idles 10..110: 80 of it because rank 1 came late, 20 for its bytes.
  std::vector<StreamWait> waits;
  for (const StreamWait& wait : w.log.waits) {
    if (wait.device == DeviceId(0)) waits.push_back(wait);
  }
  ASSERT_EQ(waits.size(), 2u);
  EXPECT_EQ(waits[0].cause, WaitCause::kPeer);
  EXPECT_EQ(waits[0].waited_for, DeviceId(1));
  EXPECT_EQ(waits[0].duration, Duration(80));
  EXPECT_EQ(waits[1].cause, WaitCause::kNetwork);
  EXPECT_EQ(waits[1].duration, Duration(20));
  EXPECT_EQ(waits[1].tag.layer, 3);
  for (const StreamWait& wait : waits) EXPECT_EQ(wait.released_by.kind, 1);  // the exchange
}

// Rank 1's second exchange is with itself alone and begins when the first one has ended: what its
// compute stream waited for first is rank 0, not its own bytes.
TEST(TaskGraph, AWaitThroughTwoPartsNamesWhoHeldUpTheFirst) {
  World w(2);
  const TaskId late = w.kernel(0, 100);
  const TaskId early = w.kernel(1, 10);
  const auto first = w.exchange({{late}, {early}}, {{{0, 1, 20}}});
  std::vector<PartSpec> alone(1);
  alone[0] = {w.comm[1], {first[1]}, HeldId(), 0};
  const auto second = w.graph.add_collective({2, 0, 0}, alone, [&](CollectiveBody& body) {
    body.startup.assign(1, Duration(0));
    const std::int32_t self = 0;
    const ResourceUse path[] = {{w.up[1], 1}};
    body.add({&self, 1}, {}, Bytes(30), Duration(0), path);
  });
  w.kernel(1, 5, {second[0]});
  w.loop.run();
  std::vector<std::tuple<int, int, std::int64_t, int>> waits;  // cause, whom, how long, ended by
  for (const StreamWait& wait : w.log.waits) {
    if (wait.device != DeviceId(1)) continue;
    waits.emplace_back(static_cast<int>(wait.cause), wait.waited_for.value(), wait.duration.count(),
                       wait.released_by.kind);
  }
  EXPECT_EQ(waits, (std::vector<std::tuple<int, int, std::int64_t, int>>{
                       {static_cast<int>(WaitCause::kPeer), 0, 90, 1},
                       {static_cast<int>(WaitCause::kNetwork), -1, 20, 1},
                       {static_cast<int>(WaitCause::kNetwork), -1, 30, 2}}));
}

// A graph that grows in callbacks: what is added when all it comes after has ended goes on from the
// callback's path, so that the step's causes still add up.
TEST(TaskGraph, ATaskAddedByACallbackGoesOnFromItsPath) {
  World w(2);
  const TaskId a = w.kernel(0, 100);
  const TaskId b = w.kernel(1, 30);
  CauseVector causes{};
  Time end;
  const TaskId both[] = {a, b};
  w.graph.when_done(both, [&](Time, const CauseVector&) {
    const TaskId c = w.kernel(1, 7, {b});
    w.graph.when_done({&c, 1}, [&](Time t, const CauseVector& sums) {
      end = t;
      causes = sums;
    });
  });
  w.loop.run();
  EXPECT_EQ(to_ps(end), 107);
  EXPECT_EQ(sum(causes), 107);
}

TEST(TaskGraph, RendezvousWaitsForTheReceiverToo) {
  for (const StartRule rule : {StartRule::kOneSided, StartRule::kRendezvous}) {
    World w(2);
    const TaskId a = w.kernel(0, 10);
    const TaskId b = w.kernel(1, 90);
    const auto parts = w.exchange({{a}, {b}}, {{{0, 1, 20}}}, rule);
    w.loop.run();
    ASSERT_EQ(w.log.parts.size(), 2u);
    const bool rendezvous = rule == StartRule::kRendezvous;
    EXPECT_EQ(to_ps(w.log.parts[0].end), rendezvous ? 110 : 30);  // the sender
    EXPECT_EQ(to_ps(w.log.parts[1].end), rendezvous ? 110 : 90);  // all had arrived when it asked
  }
}

TEST(TaskGraph, SharingIsBookedAsCongestion) {
  // Ranks 0 and 1 both send 100 bytes to rank 2: rank 2's own bytes need 200 ps, each sender's 100.
  World w(3);
  const auto parts = w.exchange({{}, {}, {}}, {{{0, 2, 100}}, {{1, 2, 100}}});
  const TaskId end = w.kernel(0, 1, {parts[0]});
  CauseVector causes{};
  const std::vector<TaskId> all = {end};
  w.graph.when_done(all, [&](Time, const CauseVector& c) { causes = c; });
  w.loop.run();
  EXPECT_EQ(causes[kNetwork], 100);
  EXPECT_EQ(causes[kCongestion], 100);
}

TEST(TaskGraph, OneTransferWithSeveralReceiversCountsForEach) {
  World w(3);
  const std::vector<PartSpec> parts = {
      {w.comm[0], {}, HeldId(), 0}, {w.comm[1], {}, HeldId(), 0}, {w.comm[2], {}, HeldId(), 0}};
  w.graph.add_collective({1, 0, 0}, parts, [&](CollectiveBody& body) {
    body.startup.assign(3, Duration(0));
    body.parties = {0, 1, 2};
    body.uses = {{w.up[0], 1}, {w.down[1], 1}, {w.down[2], 2}};
    body.transfers.push_back({0, 1, 3, 0, 3, Bytes(100), Duration(5)});
  });
  w.loop.run();
  ASSERT_EQ(w.log.parts.size(), 3u);
  for (const PartSpan& part : w.log.parts)
    EXPECT_EQ(to_ps(part.end), 205);  // 100 bytes twice on rank 2's link, after 5 ps
}

TEST(TaskGraph, HeldUnitsAreKeptToTheEndAndServedInOrder) {
  World w(1);
  const HeldId sms = w.graph.add_held(132);
  const StreamId other = w.graph.add_stream(DeviceId(0), StreamKind::kCommunication, Duration(0));
  TaskSpec comm{other, {2, 0, 0}, Duration(50), {}, sms, 20};
  TaskSpec big{w.compute[0], {0, 0, 0}, Duration(10), {}, sms, 132};
  w.graph.add_task(comm, {});
  w.graph.add_task(big, {});
  w.loop.run();
  EXPECT_EQ(to_ps(w.log.tasks[1].start), 50);
  TaskSpec smaller = big;
  smaller.held_amount = 112;
  w.graph.add_task(comm, {});
  w.graph.add_task(smaller, {});
  w.loop.run();
  EXPECT_EQ(to_ps(w.log.tasks[2].start), 60);  // both fit: side by side
}

TEST(TaskGraph, GapsBetweenKernelsAreLaunchTimeUnlessHidden) {
  World w(2, Duration(3));
  w.kernel(0, 10);
  const TaskId b = w.kernel(0, 10);
  const TaskId slow = w.kernel(1, 100);
  const TaskId c = w.kernel(0, 10, {slow});
  CauseVector first{}, second{};
  const std::vector<TaskId> one = {b}, two = {c};
  w.graph.when_done(one, [&](Time, const CauseVector& v) { first = v; });
  w.graph.when_done(two, [&](Time, const CauseVector& v) { second = v; });
  w.loop.run();
  EXPECT_EQ(first[kLaunch], 3);
  EXPECT_EQ(sum(first), 23);
  EXPECT_EQ(second[kLaunch], 0);
  EXPECT_EQ(sum(second), 110);
}

TEST(TaskGraph, SlotsAreReusedSoMemoryIsBoundedByWhatIsInFlight) {
  World w(1);
  int rounds = 0;
  std::function<void()> more = [&] {
    if (++rounds > 1000) return;
    const std::vector<TaskId> last = {w.kernel(0, 1)};
    w.graph.when_done(last, [&](Time, const CauseVector&) { more(); });
  };
  more();
  w.loop.run();
  EXPECT_EQ(w.graph.tasks_run(), 1000u);
  EXPECT_EQ(w.graph.unfinished(), 0u);
}

TEST(TaskGraph, AStarvedCollectiveIsReportedNotWaitedForForever) {
  World w(2, Duration(0), 0.0);
  w.exchange({{}, {}}, {{{0, 1, 10}}});
  w.loop.run();
  EXPECT_EQ(w.graph.unfinished(), 2u);
  EXPECT_EQ(w.graph.describe_stuck(
                [](TaskTag, DeviceId d) { return "dispatch on " + std::to_string(d.value()); }),
            "2 tasks never end: 1 transfer has no bandwidth; the first is dispatch on 0");
}

TEST(TaskGraph, TwoSimulationsInOneProcessDoNotSeeEachOther) {
  World one(1), two(1);
  one.kernel(0, 10);
  two.kernel(0, 20);
  one.loop.run();
  EXPECT_TRUE(two.log.tasks.empty());
  two.loop.run();
  EXPECT_EQ(to_ps(two.log.tasks[0].end), 20);
}

// A calibrated start-up was measured with the gap before it: only what is left of it is waited for.
TEST(TaskGraph, AKernelsOwnStartUpHoldsItsShareOfTheGap) {
  World world(1, Duration(100));
  for (const std::int64_t inside : {0, 60, 500}) {
    TaskSpec spec;
    spec.stream = world.compute[0];
    spec.duration = Duration(1000);
    spec.shares[0] = {kWork, Duration(1000)};
    spec.gap_inside = Duration(inside);
    world.graph.add_task(spec, {});
  }
  world.loop.run();
  // The first has none before it; then 40 + 1000, then 1000.
  EXPECT_EQ(world.loop.now(), Time(Duration(1000 + 1040 + 1000)));
}

}  // namespace
}  // namespace sim
