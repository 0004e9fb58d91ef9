#include "sim/core/kernel_chain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <tuple>
#include <utility>
#include <vector>

#include "sim/core/random.h"
#include "sim/core/task_graph.h"

namespace sim {
namespace {

constexpr CauseId kNetwork = 10, kCongestion = 11, kStartup = 12, kLaunch = 13;

using Row = std::tuple<int, std::int64_t, std::int64_t, int, int, int>;

struct KernelLog : Observer {
  std::vector<Row> kernels;  // (device, start, end, kind, layer, pass)
  std::vector<Row> waits;    // (device, start, duration, cause, layer, whom)
  void on_task(const TaskSpan& task) override {
    for_each_kernel(task, [this](const TaskSpan& kernel, Duration gap) {
      kernels.emplace_back(kernel.device.value(), to_ps(kernel.start), to_ps(kernel.end),
                           kernel.tag.kind, kernel.tag.layer, kernel.tag.pass);
      if (gap > Duration(0)) {
        on_wait({kernel.tag, kernel.device, DeviceId(), WaitCause::kLaunch, kernel.start - gap, gap,
                 kernel.tag});
      }
    });
  }
  void on_wait(const StreamWait& wait) override {
    waits.emplace_back(wait.device.value(), to_ps(wait.start), wait.duration.count(),
                       static_cast<int>(wait.cause), wait.tag.layer, wait.waited_for.value());
  }
};

struct Outcome {
  KernelLog log;
  CauseVector causes{};
  Time end;
  std::uint64_t tasks = 0;
};

// Rounds of random kernels on four devices with an exchange after each; the kernels of a round are
// tasks of their own or one chain.
Outcome run(std::uint64_t seed, bool chained) {
  constexpr int kDevices = 4;
  const Duration gap(50);
  Outcome outcome;
  EventLoop loop;
  TaskGraph graph(loop, outcome.log, {kNetwork, kCongestion, kStartup, kLaunch});
  std::vector<StreamId> compute, communication;
  std::vector<HeldId> sms;
  std::vector<ResourceId> ports;
  for (int d = 0; d < kDevices; ++d) {
    compute.push_back(graph.add_stream(DeviceId(d), StreamKind::kCompute, gap));
    communication.push_back(graph.add_stream(DeviceId(d), StreamKind::kCommunication, Duration(0)));
    sms.push_back(graph.add_held(10));
    ports.push_back(graph.network().add_resource(Bandwidth(1e12)));
  }
  RandomStream random(seed, "chain test");
  std::deque<KernelChain> chains;
  std::vector<TaskId> last(kDevices);
  for (int round = 0; round < 5; ++round) {
    std::vector<PartSpec> parts(kDevices);
    for (std::size_t d = 0; d < kDevices; ++d) {
      KernelChain::Builder builder(gap, kLaunch);
      const std::uint64_t count = 1 + random.below(4);
      for (std::uint64_t k = 0; k < count; ++k) {
        KernelChain::Kernel kernel;
        kernel.kind = static_cast<std::int16_t>(random.below(5));
        kernel.layer_offset = static_cast<std::int16_t>(k / 2);
        if (k == 1) kernel.pass = 2;
        kernel.duration = Duration(static_cast<std::int64_t>(random.below(400)));
        const Duration inside(static_cast<std::int64_t>(random.below(80)));
        const CauseShare shares[2] = {
            {static_cast<CauseId>(kernel.kind), Duration(0)},
            {5, std::min(kernel.duration, Duration(random.below(2) == 0 ? 0 : 90))}};
        builder.add(kernel, inside, shares);
        if (chained) continue;
        TaskSpec spec;
        spec.stream = compute[d];
        spec.tag = {kernel.kind, static_cast<std::int16_t>(round + kernel.layer_offset), 0, 3};
        spec.tag.pass = k == 1 ? 2 : 1;
        spec.duration = kernel.duration;
        std::copy(std::begin(shares), std::end(shares), spec.shares);
        spec.gap_inside = inside;
        spec.held = sms[d];
        spec.held_amount = 10;
        last[d] = graph.add_task(spec, {&last[d], 1});
      }
      if (chained) {
        chains.push_back(std::move(builder).build());
        TaskSpec spec;
        spec.stream = compute[d];
        spec.tag = {99, static_cast<std::int16_t>(round), 0, 3, 1};
        spec.held = sms[d];
        spec.held_amount = 10;
        spec.chain = &chains.back();
        last[d] = graph.add_task(spec, {&last[d], 1});
      }
      parts[d] = {communication[d], {last[d]}, HeldId(), 0};
    }
    last = graph.add_collective(
        {9, static_cast<std::int16_t>(round), 0}, parts, [&](CollectiveBody& body) {
          body.startup.assign(kDevices, Duration(20));
          for (std::int32_t d = 0; d < kDevices; ++d) {
            const std::int32_t to = (d + 1) % kDevices;
            const ResourceUse path[] = {{ports[static_cast<std::size_t>(d)], 1},
                                        {ports[static_cast<std::size_t>(to)], 1}};
            body.add({&d, 1}, {&to, 1}, Bytes(100), Duration(0), path);
          }
        });
  }
  graph.when_done(last, [&](Time end, const CauseVector& causes) {
    outcome.end = end;
    outcome.causes = causes;
  });
  loop.run();
  outcome.tasks = graph.tasks_run();
  std::sort(outcome.log.kernels.begin(), outcome.log.kernels.end());
  std::sort(outcome.log.waits.begin(), outcome.log.waits.end());
  return outcome;
}

TEST(KernelChain, AStepHasTheSameRecordsWithAndWithoutChains) {
  std::uint64_t fewer = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const Outcome single = run(seed, false);
    const Outcome chained = run(seed, true);
    ASSERT_EQ(single.end, chained.end) << "seed " << seed;
    ASSERT_EQ(single.causes, chained.causes) << "seed " << seed;
    ASSERT_EQ(single.log.kernels, chained.log.kernels) << "seed " << seed;
    ASSERT_EQ(single.log.waits, chained.log.waits) << "seed " << seed;
    fewer += single.tasks > chained.tasks ? 1 : 0;
  }
  EXPECT_EQ(fewer, 200u);
}

// 100, a gap of 50 of which the kernel holds 20, then 300 of which 40 are a straggler's.
TEST(KernelChain, GapsAndSharesAreSummed) {
  KernelChain::Builder builder(Duration(50), kLaunch);
  const CauseShare plain[] = {{1, Duration(100)}};
  const CauseShare split[] = {{1, Duration(0)}, {5, Duration(40)}};
  builder.add({.kind = 1, .duration = Duration(100)}, Duration(7), plain);
  builder.add({.kind = 1, .duration = Duration(300)}, Duration(20), split);
  const KernelChain chain = std::move(builder).build();
  EXPECT_EQ(chain.duration(), Duration(430));
  EXPECT_EQ(chain.first_gap_inside(), Duration(7));
  std::vector<std::pair<int, std::int64_t>> shares;
  for (const CauseShare& share : chain.shares())
    shares.emplace_back(share.cause, share.duration.count());
  std::sort(shares.begin(), shares.end());
  EXPECT_EQ(shares, (std::vector<std::pair<int, std::int64_t>>{{1, 360}, {5, 40}, {kLaunch, 30}}));
}

}  // namespace
}  // namespace sim
