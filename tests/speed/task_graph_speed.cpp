// The task graph end to end: tasks are added, wait for each other, run and are observed. An item is
// one task.
#include <benchmark/benchmark.h>

#include <array>
#include <functional>
#include <vector>

#include "sim/core/task_graph.h"

namespace sim::speed {
namespace {

// Adds up what it is told, as a recorder does.
struct Sums : Observer {
  std::array<Duration, 64> busy{};
  std::array<Duration, 8> waits{};
  void on_task(const TaskSpan& span) override {
    busy[span.device.index() % busy.size()] += span.end - span.start;
  }
  void on_part(const PartSpan& span) override { waits[7] += span.wait_peer; }
  void on_wait(const StreamWait& wait) override {
    waits[static_cast<std::size_t>(wait.cause)] += wait.duration;
  }
};

TaskSpec kernel(StreamId stream, std::size_t number) {
  TaskSpec spec;
  spec.stream = stream;
  spec.tag = {static_cast<std::int16_t>(number % 9), static_cast<std::int16_t>(number % 61), 0};
  spec.duration = Duration(static_cast<std::int64_t>(1000 + number % 7));
  spec.shares[0] = {static_cast<CauseId>(5 + number % 9), spec.duration};
  return spec;
}

// All kernels are there before the first one runs, each after its neighbour's previous one.
void task_graph_chain(benchmark::State& state) {
  constexpr std::size_t kDevices = 16;
  const std::size_t tasks = static_cast<std::size_t>(state.range(0)) * kDevices;
  for (auto _ : state) {
    EventLoop loop;
    Sums sums;
    TaskGraph graph(loop, sums, {1, 2, 3, 4});
    std::vector<StreamId> streams;
    for (std::size_t d = 0; d < kDevices; ++d) {
      streams.push_back(graph.add_stream(DeviceId(static_cast<std::int64_t>(d)),
                                         StreamKind::kCompute, Duration(0)));
    }
    std::vector<TaskId> previous(kDevices), row(kDevices);
    for (std::size_t i = 0; i < tasks; ++i) {
      const std::size_t d = i % kDevices;
      const TaskId neighbour = previous[(d + 1) % kDevices];
      row[d] = graph.add_task(
          kernel(streams[d], i),
          std::span<const TaskId>(&neighbour, neighbour.valid() ? std::size_t{1} : 0));
      if (d + 1 == kDevices) previous = row;
    }
    loop.run();
    if (graph.tasks_run() != tasks) state.SkipWithError("a task never ran");
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(tasks));
}

// The shape of a model's step: rounds of four kernels on every device and a part of an exchange
// that moves bytes to the next device, then the next round. Rounds are added as the run goes on.
void task_graph_step(benchmark::State& state) {
  constexpr std::size_t kDevices = 16, kKernels = 4;
  const int rounds = static_cast<int>(state.range(0));
  std::uint64_t run = 0;
  for (auto _ : state) {
    EventLoop loop;
    Sums sums;
    TaskGraph graph(loop, sums, {1, 2, 3, 4});
    std::vector<StreamId> compute, communication;
    std::vector<HeldId> sms;
    std::vector<ResourceId> ports;
    for (std::size_t d = 0; d < kDevices; ++d) {
      const DeviceId device(static_cast<std::int64_t>(d));
      compute.push_back(graph.add_stream(device, StreamKind::kCompute, Duration(10)));
      communication.push_back(graph.add_stream(device, StreamKind::kCommunication, Duration(0)));
      sms.push_back(graph.add_held(132));
      ports.push_back(graph.network().add_resource(Bandwidth(1e12)));
    }
    std::vector<TaskId> last(kDevices);
    std::function<void(int)> add = [&](int round) {
      std::vector<PartSpec> parts(kDevices);
      for (std::size_t d = 0; d < kDevices; ++d) {
        for (std::size_t k = 0; k < kKernels; ++k) {
          TaskSpec spec = kernel(compute[d], d + k);
          spec.held = sms[d];
          spec.held_amount = 132;
          last[d] = graph.add_task(spec, {&last[d], 1});
        }
        parts[d] = {communication[d], {last[d]}, sms[d], 20};
      }
      last = graph.add_collective({9, 0, 0}, parts, [&](CollectiveBody& body) {
        body.startup.assign(kDevices, Duration(20));
        for (std::int32_t d = 0; d < static_cast<std::int32_t>(kDevices); ++d) {
          const std::int32_t to = (d + 1) % static_cast<std::int32_t>(kDevices);
          const ResourceUse path[] = {{ports[static_cast<std::size_t>(d)], 1},
                                      {ports[static_cast<std::size_t>(to)], 1}};
          body.add({&d, 1}, {&to, 1}, Bytes(100), Duration(0), path);
        }
      });
      if (round + 1 < rounds)
        graph.when_done(last, [&add, round](Time, const CauseVector&) { add(round + 1); });
    };
    add(0);
    loop.run();
    run += graph.tasks_run();
  }
  state.SetItemsProcessed(static_cast<std::int64_t>(run));
}

BENCHMARK(task_graph_chain)->Arg(16)->Arg(6250)->Unit(benchmark::kMillisecond);
BENCHMARK(task_graph_step)->Arg(16)->Arg(1000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sim::speed
