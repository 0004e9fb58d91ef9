// The hold model: every event that runs schedules one more; an item is one event.
#include <benchmark/benchmark.h>

#include "sim/core/event_loop.h"
#include "sim/core/random.h"

namespace sim::speed {
namespace {

void event_loop_hold(benchmark::State& state) {
  const std::int64_t waiting = state.range(0);
  const std::int64_t holds = 4 * waiting;
  for (auto _ : state) {
    EventLoop loop;
    RandomStream random(1, "hold");
    std::int64_t left = holds;
    std::function<void()> hold = [&] {
      if (left-- <= 0) return;
      loop.after(Duration(static_cast<std::int64_t>(random.below(1'000'000))), [&] { hold(); });
    };
    for (std::int64_t i = 0; i < waiting; ++i)
      loop.at(Time(Duration(static_cast<std::int64_t>(random.below(1'000'000)))), [&] { hold(); });
    benchmark::DoNotOptimize(loop.run());
  }
  state.SetItemsProcessed(state.iterations() * (holds + waiting));
}

BENCHMARK(event_loop_hold)->Arg(16)->Arg(1'000)->Arg(100'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sim::speed
