// Measure, fit, simulate, compare: the microbenchmark times this machine, its file becomes a
// device, a scenario of one routed layer runs on it, and the answer is held against the layer that
// the same microbenchmark timed as a whole (and that no constant was fitted to).
//
// How near it gets is printed. It fails only beyond a factor of three: the machine may be busy.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "models/calibration/measurement_file.h"
#include "tests/support/run_command.h"

namespace sim::testing {
namespace {

std::string model_yaml(const KernelCase& layer) {
  std::string text =
      "name: one-layer\nsource: the microbenchmark's shape\nvocabulary: 64\nmax_context: 4096\n";
  text += "hidden: " + std::to_string(layer.size("hidden")) + "\nformats:\n  activations: fp32\n";
  text += "  kv_cache: fp32\n";
  for (const char* group : {"attention", "dense", "router", "experts", "shared", "embeddings"}) {
    text += "  " + std::string(group) + ": {stored: fp32, multiplied: fp32}\n";
  }
  text += "blocks:\n  routed: {kind: ffn, expert_inter: " + std::to_string(layer.size("inter")) +
          ", routing: {experts: " + std::to_string(layer.size("experts")) +
          ", top_k: " + std::to_string(layer.size("top_k")) +
          "}}\nlayers:\n  - {pattern: [[routed]]}\n";
  return text;
}

// Tokens whose choices have exactly the rows per expert that were timed: each takes the experts
// that have the most rows left.
std::string choices_csv(const KernelCase& layer) {
  std::vector<std::int64_t> left = layer.rows;
  std::string text = "step,source_rank,layer0\n";
  for (std::int64_t token = 0; token < layer.size("tokens"); ++token) {
    std::vector<std::size_t> order(left.size());
    for (std::size_t e = 0; e < order.size(); ++e) order[e] = e;
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return left[a] > left[b]; });
    text += "0,0,";
    for (std::int64_t k = 0; k < layer.size("top_k"); ++k) {
      const std::size_t expert = order[static_cast<std::size_t>(k)];
      --left[expert];
      text += (k == 0 ? "" : " ") + std::to_string(expert);
    }
    text += "\n";
  }
  return text;
}

CommandResult ok(const TempFolder& folder, const std::vector<std::string>& arguments) {
  const CommandResult result = simulate(folder, arguments);
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return result;
}

double simulated_s(const TempFolder& folder, const KernelCase& layer) {
  folder.write("model.yaml", model_yaml(layer));
  folder.write("choices.csv", choices_csv(layer));
  ok(folder,
     {"trace", "import", "choices.csv", "-o", "choices.moetrace", "--experts",
      std::to_string(layer.size("experts")), "--top-k", std::to_string(layer.size("top_k"))});
  folder.write("scenario.yaml",
               "model: model.yaml\n"
               "cluster: {use: single-device, device: machine.yaml}\n"
               "workload: {kind: layer, parts: moe, tokens_per_gpu: " +
                   std::to_string(layer.size("tokens")) +
                   "}\nrouting: {trace: choices.moetrace, rule: recorded}\n"
                   "host: {gap: 0 us, per_step: 0 us}\nmemory: {framework_reserve: 0 B}\n");
  const auto json = nlohmann::json::parse(ok(folder, {"run", "scenario.yaml", "--json"}).out);
  return json["metrics"]["step_time_s"].get<double>();
}

TEST(Loop, MeasureFitSimulateCompare) {
  const TempFolder folder;
  const std::string measure = std::string(MICROBENCH_BINARY) + " --backend cpu --quick --out '" +
                              folder.file("measured.yaml") + "' > /dev/null 2>&1";
  ASSERT_EQ(std::system(measure.c_str()), 0);
  std::printf(
      "%s", ok(folder, {"calibrate", "fit", "measured.yaml", "--out", "machine.yaml"}).out.c_str());
  const MeasurementFile file = read_measurement_file(folder.file("measured.yaml"));
  int compared = 0;
  double logs = 0;
  for (const MeasuredCase& row : file.rows) {
    if (row.what.kernel != "moe_layer" || row.what.pass != "forward") continue;
    const double measured = row.median_us * 1e-6;
    const double simulated = simulated_s(folder, row.what);
    const auto most = *std::max_element(row.what.rows.begin(), row.what.rows.end());
    std::printf(
        "layer of %lld x %lld, %4lld tokens, fullest expert %4lld: %8.3f ms measured, %8.3f ms "
        "simulated, %+.0f %%\n",
        static_cast<long long>(row.what.size("hidden")),
        static_cast<long long>(row.what.size("inter")),
        static_cast<long long>(row.what.size("tokens")), static_cast<long long>(most),
        measured * 1e3, simulated * 1e3, 100 * (simulated / measured - 1));
    logs += std::fabs(std::log(simulated / measured));
    ++compared;
  }
  ASSERT_GE(compared, 8);
  const double factor = std::exp(logs / compared);
  std::printf("%d layers, geometric mean of the ratios' size %.2f\n", compared, factor);
  EXPECT_LT(factor, 3);
}

}  // namespace
}  // namespace sim::testing
