// One evaluation of an expert layer's cost: the rows of a rank to seconds, corrections included.
#include <benchmark/benchmark.h>

#include <cmath>

#include "models/costs/kernel_constants.h"
#include "sim/core/random.h"

namespace sim::speed {
namespace {

void expert_cost(benchmark::State& state) {
  KernelConstants constants;
  constants.form = &kGroupedGemmForm;
  for (const FormParameter& parameter : kGroupedGemmForm.parameters) {
    constants.values.push_back(parameter.start);
  }
  constants.range.assign(kGroupedGemmForm.extents.size(), {0, 1e9});
  const auto experts = static_cast<std::size_t>(state.range(0));
  RandomStream random(1, "rows");
  std::vector<std::vector<std::int64_t>> batches(64, std::vector<std::int64_t>(experts));
  for (auto& batch : batches) {
    for (std::int64_t& rows : batch) rows = static_cast<std::int64_t>(random.below(200));
  }
  ExpertFfn ffn;
  ffn.hidden = 7168;
  ffn.inter = 2048;
  ffn.tokens = 3200;
  ffn.top_k = 1;
  ffn.experts = static_cast<std::int64_t>(experts);
  Correction correction;
  correction.shape = {7168, 2048, 1, ffn.experts, ffn.experts, 0};
  for (int i = 0; i < 8; ++i) {
    correction.log_size.push_back(std::log(8.0) + 1.1 * i);
    correction.log_ratio.push_back(0.01 * i);
  }
  constants.corrections = {correction};
  const DeviceRates rates{1979e12, 3.35e12, 132};
  std::size_t next = 0;
  for (auto _ : state) {
    ffn.rows = batches[next++ % batches.size()];
    benchmark::DoNotOptimize(evaluate(constants, {.experts = &ffn}, rates));
  }
  state.SetItemsProcessed(state.iterations());
}

BENCHMARK(expert_cost)->Arg(16)->Arg(32)->Arg(256);

}  // namespace
}  // namespace sim::speed
