// Whole all-to-alls through the fluid network; an item is one transfer.
#include <benchmark/benchmark.h>

#include "sim/core/fluid_network.h"
#include "tests/speed/all_to_all.h"

namespace sim::speed {
namespace {

void run(benchmark::State& state, Sizes sizes) {
  const AllToAll pattern = make_all_to_all(static_cast<int>(state.range(0)), sizes, 1);
  std::uint64_t level_changes = 0;
  for (auto _ : state) {
    EventLoop loop;
    FluidNetwork network(loop, [](std::uint64_t) {});
    for (const double capacity : pattern.capacities) network.add_resource(Bandwidth(capacity));
    for (const AllToAll::Transfer& t : pattern.transfers) network.start(t.uses, Bytes(t.bytes), 0);
    loop.run();
    if (network.active() > 0) state.SkipWithError("a transfer never ended");
    level_changes = network.level_changes();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(pattern.transfers.size()));
  state.counters["level_changes"] = static_cast<double>(level_changes);
}

void solver_uniform(benchmark::State& state) { run(state, Sizes::kUniform); }
void solver_skew(benchmark::State& state) { run(state, Sizes::kSkew); }
void solver_tokens(benchmark::State& state) { run(state, Sizes::kTokens); }

BENCHMARK(solver_uniform)->Arg(16)->Arg(128)->Arg(1024)->Unit(benchmark::kMillisecond);
BENCHMARK(solver_skew)->Arg(16)->Arg(64)->Arg(128)->Arg(256)->Unit(benchmark::kMillisecond);
BENCHMARK(solver_tokens)->Arg(16)->Arg(64)->Arg(128)->Arg(256)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sim::speed
