// Kernels on 16 devices, each after its neighbour's previous one; an item is one task.
#include <benchmark/benchmark.h>

#include "sim/core/task_graph.h"

namespace sim::speed {
namespace {

void task_graph_chain(benchmark::State& state) {
  constexpr std::size_t kDevices = 16;
  const std::size_t tasks = static_cast<std::size_t>(state.range(0)) * kDevices;
  for (auto _ : state) {
    EventLoop loop;
    Observer observer;
    TaskGraph graph(loop, observer, {1, 2, 3, 4});
    std::vector<StreamId> streams;
    for (std::size_t d = 0; d < kDevices; ++d) {
      streams.push_back(graph.add_stream(DeviceId(static_cast<std::int64_t>(d)),
                                         StreamKind::kCompute, Duration(0)));
    }
    std::vector<TaskId> previous(kDevices), row(kDevices);
    for (std::size_t i = 0; i < tasks; ++i) {
      const std::size_t d = i % kDevices;
      TaskSpec spec;
      spec.stream = streams[d];
      spec.duration = Duration(static_cast<std::int64_t>(1000 + i % 7));
      spec.shares[0] = {0, spec.duration};
      const TaskId neighbour = previous[(d + 1) % kDevices];
      row[d] = graph.add_task(
          spec, std::span<const TaskId>(&neighbour, neighbour.valid() ? std::size_t{1} : 0));
      if (d + 1 == kDevices) previous = row;
    }
    loop.run();
    if (graph.tasks_run() != tasks) state.SkipWithError("a task never ran");
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(tasks));
}

BENCHMARK(task_graph_chain)->Arg(16)->Arg(6250)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sim::speed
