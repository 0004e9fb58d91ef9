// Whole exchanges through the exact solver, as `simulate flows` runs them without its files; an
// item is one flow.
#include <benchmark/benchmark.h>

#include "sim/workloads/flows/flow_set.h"
#include "tests/speed/scenarios.h"

namespace sim::speed {
namespace {

void run(benchmark::State& state, const char* pattern, bool ideal_spraying = false) {
  const FlowSet set = make({static_cast<int>(state.range(0)), pattern, ideal_spraying});
  std::uint64_t level_changes = 0;
  for (auto _ : state) level_changes = solve_flows(set).level_changes;
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(set.flows.size()));
  state.counters["flows"] = static_cast<double>(set.flows.size());
  state.counters["level_changes"] = static_cast<double>(level_changes);
}

BENCHMARK_CAPTURE(run, uniform, "uniform")->Arg(16)->Arg(128)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(run, uniform_spraying, "uniform", true)->Arg(1024)->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(run, skew, "skew")
    ->Arg(16)
    ->Arg(64)
    ->Arg(128)
    ->Arg(256)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(run, tokens, "tokens")
    ->Arg(16)
    ->Arg(64)
    ->Arg(128)
    ->Arg(256)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(run, staggered, "staggered")
    ->Arg(16)
    ->Arg(64)
    ->Arg(128)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(run, slow_nic, "slow-nic")
    ->Arg(16)
    ->Arg(64)
    ->Arg(128)
    ->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(run, decode, "decode")->Arg(16)->Arg(72)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace sim::speed
