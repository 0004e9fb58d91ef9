// simulate calibrate fit on a file of the microbenchmark, and what a scenario may ask of kernels.
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

constexpr const char* kHead = R"(format: moe-microbench
version: 1
written_by: microbench 0.1.0
date: 2026-11-22
backend: cpu
device: {name: toy, sms: 1, clock_mhz: 1000, memory_bytes: 8000000000, runtime: none}
method: {warm_up: 1, least_repeats: 3, least_time_s: 0.01, rotating_bytes: 0, statistic: median}
units: {time: us, bytes: B}
rows:
)";

std::string row(const std::string& kernel, const std::string& sizes, double us,
                const std::string& options = "") {
  const std::string time = std::to_string(us);
  return "- {kernel: " + kernel + ", implementation: own, dtype: fp32, pass: forward, sizes: {" +
         sizes + "}, " + options + "median: " + time + ", p10: " + time + ", p90: " + time +
         ", repeats: 3}\n";
}

// 10 GB/s and 100 GFLOP/s; a norm takes 5 us and its bytes (read and written, fp32) at half of
// that.
std::string measured() {
  std::string text = kHead;
  text += row("ceiling_memory", "bytes: 100000000", 10000, "options: {what: copy}, ");
  text += row("ceiling_matrix", "m: 1000, n: 1000, k: 1000", 20000);
  for (int rows = 1; rows <= 4096; rows *= 4) {
    text +=
        row("norm", "rows: " + std::to_string(rows) + ", hidden: 512", 5 + 8 * 512 * rows / 5e3);
  }
  return text;
}

class MachineFit : public Refusal {};

TEST_F(MachineFit, CeilingsAreTheDataSheetAndConstantsAreFound) {
  folder_.write("m.yaml", measured());
  const CommandResult fit = simulate(folder_, {"calibrate", "fit", "m.yaml", "--out", "toy.yaml"});
  EXPECT_EQ(fit.exit_code, 0) << fit.err;
  EXPECT_NE(fit.out.find("toy.yaml: device 'toy', 1 kernels of m.yaml"), std::string::npos)
      << fit.out;
  const std::string device = folder_.read("toy.yaml");
  EXPECT_NE(device.find("fp32: 0.1 TFLOP/s"), std::string::npos) << device;
  EXPECT_NE(device.find("bandwidth: 10 GB/s"), std::string::npos) << device;
  const CommandResult asked =
      simulate(folder_, {"cost", "--device", "toy.yaml", "--kernel", "norm", "--set", "dtype=fp32",
                         "--set", "rows=100", "--set", "hidden=512", "--json"});
  const auto reply = nlohmann::json::parse(asked.out);
  EXPECT_NEAR(reply["time_s"].get<double>(), 5e-6 + 8 * 512 * 100 / 5e9, 2e-6);
  EXPECT_EQ(reply["label"], "fitted");
  EXPECT_EQ(reply["in_range"], true);
}

TEST_F(MachineFit, WhatItCannotUseIsSaid) {
  std::string text = kHead;
  folder_.write("no-ceiling.yaml", text + row("norm", "rows: 4, hidden: 512", 5));
  EXPECT_EQ(
      refused({"calibrate", "fit", "no-ceiling.yaml"}),
      "no-ceiling.yaml: there are no rows of ceiling_memory and ceiling_matrix; measure them, "
      "or name the device with --device\n");
  text += row("ceiling_memory", "bytes: 100000000", 10000, "options: {what: copy}, ");
  text += row("ceiling_matrix", "m: 1000, n: 1000, k: 1000", 20000);
  folder_.write("no-kernel.yaml", text);
  EXPECT_EQ(refused({"calibrate", "fit", "no-kernel.yaml"}),
            "no-kernel.yaml: the file has no kernel that constants can be fitted to; without "
            "--only, microbench measures all\n");
  EXPECT_EQ(refused({"calibrate", "fit", "a100-nccl", "--out", "x.yaml"}),
            "--device and --out go with a file of the microbenchmark; constants of a specification "
            "are printed\n");
}

// A norm as in measured(), twelve rows of it with distinct sizes, the times of `wrong` (row of the
// norm, from 0) off by a factor.
std::string norms(const std::map<int, double>& wrong, double memory_us = 10000) {
  std::string text = kHead;
  text += row("ceiling_memory", "bytes: 100000000", memory_us, "options: {what: copy}, ");
  text += row("ceiling_matrix", "m: 1000, n: 1000, k: 1000", 20000);
  for (int i = 0; i < 12; ++i) {
    const int rows = 1 << i;
    const auto found = wrong.find(i);
    text += row("norm", "rows: " + std::to_string(rows) + ", hidden: 512",
                (5 + 8 * 512 * rows / 5e3) * (found == wrong.end() ? 1 : found->second));
  }
  return text;
}

// Whichever row it is, one slip of a unit moves no constant; the third row of the file is the
// norm's first.
TEST_F(MachineFit, ARowOffByAThousandIsAnOutlier) {
  const auto time_of = [&](const std::string& rows) {
    const CommandResult asked =
        simulate(folder_, {"cost", "--device", "toy.yaml", "--kernel", "norm", "--set",
                           "dtype=fp32", "--set", "rows=" + rows, "--set", "hidden=512", "--json"});
    return nlohmann::json::parse(asked.out)["time_s"].get<double>();
  };
  for (const int at : {0, 1, 6, 11}) {
    for (const double factor : {1e-3, 1e3}) {
      folder_.write("m.yaml", norms({{at, factor}}));
      const CommandResult fit =
          simulate(folder_, {"calibrate", "fit", "m.yaml", "--out", "toy.yaml"});
      ASSERT_EQ(fit.exit_code, 0) << fit.err;
      const std::string number = std::to_string(at + 3);
      EXPECT_NE(fit.out.find("outlier left out: norm row " + number + ", measured "),
                std::string::npos)
          << fit.out;
      EXPECT_NE(folder_.read("toy.yaml").find("1 outliers left out: norm row " + number + "\""),
                std::string::npos);
      EXPECT_EQ(fit.out.find("outlier", fit.out.find("outlier") + 1), std::string::npos) << fit.out;
      EXPECT_NEAR(time_of("4") / (5e-6 + 8 * 512 * 4 / 5e9), 1, 0.1) << at << " " << factor;
      EXPECT_NEAR(time_of("1000") / (5e-6 + 8 * 512 * 1000 / 5e9), 1, 0.1) << at << " " << factor;
    }
  }
}

TEST_F(MachineFit, CeilingsAreHeldAgainstEachOtherAndAgainstReason) {
  const std::string copy = row("ceiling_memory", "bytes: 100000000", 10, "options: {what: read}, ");
  folder_.write("m.yaml", norms({}) + copy);  // row 15: 10 TB/s
  const CommandResult fit = simulate(folder_, {"calibrate", "fit", "m.yaml", "--out", "toy.yaml"});
  EXPECT_EQ(fit.exit_code, 0) << fit.err;
  EXPECT_NE(fit.out.find("left out: outlier: ceiling_memory row 15: 1e+13 B/s, the next is 1e+10"),
            std::string::npos)
      << fit.out;
  EXPECT_NE(folder_.read("toy.yaml").find("bandwidth: 10 GB/s"), std::string::npos);
  std::filesystem::remove(folder_.file("toy.yaml"));
  folder_.write("fast.yaml", norms({}, 0.5));  // 1e8 B in 0.5 us
  EXPECT_EQ(refused({"calibrate", "fit", "fast.yaml"}),
            "fast.yaml:10: ceiling_memory reaches 2e+14 B/s, more than any device's 1e+14; are its "
            "times in us and its sizes in B?\n");
}

TEST_F(MachineFit, FewRowsAreNoFit) {
  const std::string few = row("activation", "rows: 4, inter: 64", 6);
  folder_.write("m.yaml", measured() + few + few + few);
  const CommandResult seven = simulate(folder_, {"calibrate", "fit", "m.yaml", "--out", "t.yaml"});
  EXPECT_NE(seven.out.find("too few rows  moved"), std::string::npos) << seven.out;
  EXPECT_NE(seven.out.find("left out: activation, microbench-own: 3 rows are too few for 2 "
                           "parameters\n"),
            std::string::npos)
      << seven.out;
}

TEST_F(MachineFit, WhatTheMeasurementLeftOutIsShown) {
  std::string text = measured();
  text.insert(text.find("rows:\n"),
              "left_out:\n- {kernel: peer_copy, reason: one device}\nfailed_checks: 3\n");
  folder_.write("m.yaml", text);
  const CommandResult fit = simulate(folder_, {"calibrate", "fit", "m.yaml", "--out", "toy.yaml"});
  EXPECT_NE(fit.out.find("left out: 3 cases whose results were wrong when they were measured\n"
                         "left out: peer_copy, not measured: one device\n"),
            std::string::npos)
      << fit.out;
}

TEST_F(MachineFit, NamesThatAreNoYamlAreQuoted) {
  std::string text = measured();
  text.replace(text.find("name: toy"), 9, "name: 'Intel \"X\" CPU'");
  folder_.write("m: [1.yaml", text);
  const CommandResult fit =
      simulate(folder_, {"calibrate", "fit", "m: [1.yaml", "--out", "a: [b.yaml"});
  EXPECT_EQ(fit.exit_code, 0) << fit.err;
  const std::string device = folder_.read("a: [b.yaml");
  EXPECT_EQ(device.substr(0, device.find('\n')), "name: \"a: [b\"");
  EXPECT_NE(device.find("on Intel \\\"X\\\" CPU"), std::string::npos) << device;
}

TEST_F(MachineFit, FilesThatAreNoneOfOursAreNamed) {
  folder_.write("m.yaml", measured());
  folder_.write("empty.yaml", "");
  folder_.write("other.yaml", "a: 1\n");
  EXPECT_EQ(refused({"calibrate", "fit", "empty.yaml", "--out", "x.yaml"}),
            "empty.yaml: the file is empty; write one with: microbench --backend cpu --quick --out "
            "FILE\n");
  EXPECT_EQ(
      refused({"calibrate", "fit", "other.yaml", "--out", "x.yaml"}),
      "other.yaml:1:1: this is not a microbenchmark's file: it has no key 'format'; write one "
      "with: microbench --backend cpu --quick --out FILE\n");
  EXPECT_EQ(refused({"calibrate", "fit", "m.yaml", "--data", "."}),
            "--data has no effect on a file of the microbenchmark; leave it out\n");
  EXPECT_EQ(refused({"calibrate", "fit", "m.yaml", "--out", "./m.yaml"}),
            "./m.yaml: the device would be written over the measurement it is made from; name "
            "another file with --out\n");
  EXPECT_EQ(refused_scenario("model: model.yaml\ncluster: {use: single-device, device: m.yaml}\n"
                             "workload: {kind: decode, tokens_per_gpu: 2, context: 10}\n"
                             "routing: {synthetic: {uniform: true}}\n"),
            "m.yaml:1:9: this is a measurement; `simulate calibrate fit` makes a device of "
            "it\n");
}

TEST_F(MachineFit, ASourceThatNoDeviceHasIsRefused) {
  folder_.write("m.yaml", measured());
  ASSERT_EQ(simulate(folder_, {"calibrate", "fit", "m.yaml", "--out", "toy.yaml"}).exit_code, 0);
  const std::string scenario =
      "model: model.yaml\ncluster: {use: single-device, device: toy.yaml}\n"
      "workload: {kind: decode, tokens_per_gpu: 2, context: 10}\n"
      "routing: {synthetic: {uniform: true}}\nmemory: {framework_reserve: 0 B}\n";
  EXPECT_EQ(refused_scenario(scenario + "kernels: {streaming: microbench-on}\n"),
            "scenario.yaml:6:22: no device of the cluster has the source 'microbench-on' of "
            "streaming; did you mean 'microbench-own'?\n");
  folder_.write("scenario.yaml", scenario + "kernels: {streaming: microbench-own}\n");
  const CommandResult run = simulate(folder_, {"run", "scenario.yaml", "--results", "r.db"});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const CommandResult sums = simulate(
      folder_, {"query", "r.db", "SELECT count(*) > 0 FROM costs WHERE label = 'fitted'", "--csv"});
  EXPECT_NE(sums.out.find("\n1\n"), std::string::npos) << sums.out;
  const CommandResult roofline =
      simulate(folder_, {"check", "scenario.yaml", "--set", "kernels.use=roofline"});
  EXPECT_NE(roofline.out.find("kernels.streaming has no effect: kernels.use is roofline"),
            std::string::npos)
      << roofline.out;
}

// A fused expert call that was measured with its permutation and weighted sum: on one rank, where
// no exchange stands between, the step does not run them again.
TEST_F(MachineFit, AStepDoesNotRepeatWhatAFusedCallHolds) {
  folder_.write("scenario.yaml",
                "model: qwen3-30b-a3b\ncluster: {use: single-device, device: h100-sxm}\n"
                "workload: {kind: layer, parts: moe, tokens_per_gpu: 64, context: 100}\n"
                "routing: {synthetic: {uniform: true}}\n");
  const auto kernels = [&](const std::string& use) {
    const CommandResult run = simulate(
        folder_, {"run", "scenario.yaml", "--results", use + ".db", "--set", "kernels.use=" + use});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return simulate(folder_,
                    {"query", use + ".db",
                     "SELECT count(*) FROM costs WHERE kernel IN ('permute_quantise', "
                     "'weighted_sum') UNION ALL SELECT count(*) FROM costs WHERE kernel='experts'",
                     "--csv"})
        .out;
  };
  EXPECT_NE(kernels("calibrated").find("\n0\n1\n"), std::string::npos) << kernels("calibrated");
  EXPECT_NE(kernels("roofline").find("\n2\n1\n"), std::string::npos) << kernels("roofline");
}

// DeepEP's low-latency kernels cast, scatter and sum the rows themselves; with NCCL kernels of
// their own do.
TEST_F(MachineFit, AStepDoesNotRepeatWhatAnExchangeDoesToItsRows) {
  const auto kernels = [&](const std::string& dispatch) {
    const CommandResult run =
        simulate(folder_, {"run", "first-light", "--results", dispatch + ".db", "--set",
                           "workload.steps=1", "--set", "communication.dispatch=" + dispatch});
    EXPECT_EQ(run.exit_code, 0) << run.err;
    return simulate(folder_, {"query", dispatch + ".db",
                              "SELECT count(*) FROM costs WHERE kernel IN ('permute_quantise', "
                              "'weighted_sum')",
                              "--csv"})
        .out;
  };
  EXPECT_NE(kernels("deepep-low-latency").find("\n0\n"), std::string::npos);
  EXPECT_NE(kernels("nccl").find("\n2\n"), std::string::npos);
}

// The device `cpu` is what the command makes of the measurement beside it.
TEST_F(MachineFit, TheCommittedMachineIsItsMeasurement) {
  const std::string models = std::string(MOE_SOURCE_DIR) + "/models/";
  const auto text_of = [](const std::string& path) {
    std::ifstream in(path);
    return std::string(std::istreambuf_iterator<char>(in), {});
  };
  const CommandResult fit = simulate(
      folder_, {"calibrate", "fit", models + "calibration/measured/cpu-xeon-2026-11-22.yaml",
                "--out", "cpu.yaml"});
  ASSERT_EQ(fit.exit_code, 0) << fit.err;
  const std::string committed = text_of(models + "devices/cpu.yaml");
  EXPECT_EQ(folder_.read("cpu.yaml"), committed.substr(committed.find('\n') + 1));
}

}  // namespace
}  // namespace sim::testing
