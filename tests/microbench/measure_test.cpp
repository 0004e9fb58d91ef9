#include "models/microbench/measure.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <set>
#include <thread>

#include "models/microbench/case_list.h"
#include "models/microbench/comparison.h"
#include "models/microbench/cpu/stopwatch.h"
#include "models/microbench/reference/matrix.h"
#include "sim/core/error.h"
#include "tests/microbench/numbers.h"

namespace sim::microbench {
namespace {

using ::testing::ElementsAre;
using ::testing::SizeIs;

KernelCase gemm_case(std::int64_t m) {
  KernelCase one;
  one.kernel = "gemm";
  one.implementation = "vendor";
  one.sizes = {{"m", m}, {"n", 3}, {"k", 4}};
  return one;
}

// A device whose GEMM can be broken.
class TestBackend : public Backend {
 public:
  enum class Fault { kNone, kWrong, kNotWritten };
  Fault fault = Fault::kNone;
  std::int64_t broken_m = 0;

  std::string name() const override { return "test"; }
  DeviceFacts facts() const override { return {"test device", 2, 1000, "", 1 << 20, "", "none"}; }
  TimingPolicy timing(bool) const override { return {}; }
  std::string unsupported(const KernelCase& c) const override {
    return c.kernel == "gemm" ? "" : "only gemm";
  }
  Timing time(const KernelCase& c, const TimingPolicy&) override {
    timed.push_back(c.size("m"));
    return {2e-6, 1e-6, 3e-6, 17};
  }
  CheckResult check(const KernelCase& c) override {
    const reference::GemmShape s{c.size("m"), c.size("n"), c.size("k")};
    const auto a = testing::random_numbers(static_cast<std::size_t>(s.m * s.k), "a");
    const auto b = testing::random_numbers(static_cast<std::size_t>(s.n * s.k), "b");
    std::vector<double> exact(static_cast<std::size_t>(s.m * s.n));
    reference::gemm<double>(s, a, b, exact);
    std::vector<float> got(exact.size());
    poison(got);
    for (std::size_t i = 0; i < got.size(); ++i) {
      const bool last = i + 1 == got.size() && c.size("m") == broken_m;
      if (last && fault == Fault::kNotWritten) continue;
      got[i] = static_cast<float>(exact[i]);
      if (last && fault == Fault::kWrong) got[i] *= 1.01f;
    }
    Comparison comparison(fp32_tolerance(s.k));
    comparison.values("output", got, exact);
    return comparison.result();
  }

  std::vector<std::int64_t> timed;
};

Measured run(TestBackend& backend, Task task = Task::kCheckAndTime) {
  KernelCase norm;
  norm.kernel = "norm";
  norm.sizes = {{"rows", 1}, {"hidden", 2}};
  const std::vector<KernelCase> cases = {gemm_case(1), norm, gemm_case(2), norm, gemm_case(3)};
  std::size_t told = 0;
  const Measured measured =
      measure(backend, cases, {}, task, [&](std::size_t done) { told = done; });
  EXPECT_EQ(told, cases.size());
  return measured;
}

TEST(Measure, RowsAndWhatIsLeftOut) {
  TestBackend backend;
  const Measured measured = run(backend);
  EXPECT_EQ(measured.checked, 3);
  EXPECT_TRUE(measured.failed.empty());
  EXPECT_EQ(measured.file.backend, "test");
  EXPECT_THAT(measured.file.left_out, ElementsAre(LeftOut{"norm", "only gemm"}));
  ASSERT_THAT(measured.file.rows, SizeIs(3));
  EXPECT_EQ(measured.file.rows[1].what, gemm_case(2));
  EXPECT_DOUBLE_EQ(measured.file.rows[1].median_us, 2);
  EXPECT_DOUBLE_EQ(measured.file.rows[1].p10_us, 1);
  EXPECT_DOUBLE_EQ(measured.file.rows[1].p90_us, 3);
  EXPECT_EQ(measured.file.rows[1].repeats, 17);
  // The file can be read back once it has its date.
  MeasurementFile file = measured.file;
  file.date = "2026-11-22";
  file.backend = "cpu";  // a real one
  EXPECT_EQ(parse_measurement_file(to_yaml(file), "t.yaml").rows.size(), 3u);
}

TEST(Measure, AWrongKernelIsCaughtAndHasNoRow) {
  for (const auto fault : {TestBackend::Fault::kWrong, TestBackend::Fault::kNotWritten}) {
    TestBackend backend;
    backend.fault = fault;
    backend.broken_m = 2;
    const Measured measured = run(backend);
    ASSERT_THAT(measured.failed, SizeIs(1));
    EXPECT_EQ(measured.failed[0].what, gemm_case(2));
    EXPECT_EQ(measured.file.failed_checks, 1);
    EXPECT_THAT(measured.file.rows, SizeIs(2));
    EXPECT_THAT(backend.timed, ElementsAre(1, 3));  // a wrong kernel is not timed
    const std::string text = to_text(measured.failed[0]);
    if (fault == TestBackend::Fault::kNotWritten) {
      EXPECT_EQ(
          text,
          "gemm vendor fp32 forward k=4 m=2 n=3: output has values that were not written, are "
          "NaN or are choices that differ");
    } else {
      EXPECT_THAT(text, ::testing::MatchesRegex(
                            "gemm vendor fp32 forward k=4 m=2 n=3: output is off by [0-9.]+ of its "
                            "largest value, 1.91e-06 is allowed"));
    }
  }
}

TEST(Measure, CheckOnlyTimesNothing) {
  TestBackend backend;
  const Measured measured = run(backend, Task::kCheckOnly);
  EXPECT_EQ(measured.checked, 3);
  EXPECT_TRUE(measured.file.rows.empty());
  EXPECT_TRUE(backend.timed.empty());
}

TEST(Comparison, ErrorIsRelativeToTheLargest) {
  Comparison comparison(0.1);
  const std::vector<float> got = {10.5f, 0.5f};
  comparison.values("y", got, std::vector<double>{10, 0});
  EXPECT_NEAR(comparison.result().worst_error, 0.05, 1e-7);
  EXPECT_TRUE(comparison.result().passed());
  comparison.exact("choices", false);
  EXPECT_FALSE(comparison.result().passed());
  EXPECT_EQ(comparison.result().where, "choices");
  // NaN stays, whatever follows.
  comparison.values("z", got, std::vector<double>{10, 0});
  EXPECT_FALSE(comparison.result().passed());
}

TEST(Comparison, ZerosWhereNothingIsExpected) {
  const std::vector<float> got = {1e-4f};
  Comparison strict(0.5);
  strict.values("y", got, std::vector<double>{0});
  EXPECT_FALSE(strict.result().passed());
  Comparison scaled(0.5);
  scaled.values("y", got, std::vector<double>{0}, 1e-3);
  EXPECT_TRUE(scaled.result().passed());
}

TEST(Sample, HasTheEnds) {
  EXPECT_THAT(sample(3, 5), ElementsAre(0, 1, 2));
  EXPECT_THAT(sample(101, 3), ElementsAre(0, 50, 100));
  EXPECT_THAT(sample(7, 1), ElementsAre(0));
  EXPECT_THAT(sample(0, 4), ElementsAre());
}

TEST(Stopwatch, MedianAndPercentiles) {
  const Timing timing = timing_of({5, 1, 2, 3, 4, 11, 10, 9, 8, 7, 6});
  EXPECT_EQ(timing.median_s, 6);
  EXPECT_EQ(timing.p10_s, 2);
  EXPECT_EQ(timing.p90_s, 10);
  EXPECT_EQ(timing.repeats, 11);
}

TEST(Stopwatch, CopiesTakeTurnsAndRepeatsAreEnough) {
  TimingPolicy policy;
  policy.warm_up = 2;
  policy.least_repeats = 5;
  policy.least_time_s = 0;
  std::vector<std::int64_t> copies;
  const Timing timing = time_calls([&](std::int64_t copy) { copies.push_back(copy); }, 3, policy,
                                   CallClock::kSteadyOrOwn);
  EXPECT_EQ(timing.repeats, 5);
  EXPECT_THAT(copies, ElementsAre(0, 1, 2, 0, 1, 2, 0));
  EXPECT_GT(timing.median_s, 0);
}

// Time in which the thread had no core (here: it sleeps) is not the call's.
TEST(Stopwatch, OwnTimeWhereTheCoreWasTaken) {
  TimingPolicy policy;
  policy.warm_up = 0;
  policy.least_repeats = 1;
  policy.least_time_s = 0;
  const auto sleep = [](std::int64_t) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  };
  EXPECT_GE(time_calls(sleep, 1, policy, CallClock::kSteady).median_s, 0.02);
  EXPECT_LT(time_calls(sleep, 1, policy, CallClock::kSteadyOrOwn).median_s, 0.01);
}

TEST(CaseLists, AreWholeAndWithoutDuplicates) {
  for (const auto& cases : {cpu_cases(true), cpu_cases(false), gpu_cases(true), gpu_cases(false)}) {
    std::set<std::string> seen;
    std::set<std::string> kernels;
    for (const KernelCase& one : cases) {
      EXPECT_THAT(case_mistakes(one), SizeIs(0)) << id_text(one);
      std::string text = id_text(one);
      for (const std::int64_t count : one.rows) text += " " + std::to_string(count);
      EXPECT_TRUE(seen.insert(text).second) << text;
      kernels.insert(one.kernel);
    }
    for (const char* kernel :
         {"ceiling_memory", "ceiling_matrix", "gemm", "top_k", "permute", "unpermute",
          "grouped_gemm", "expert_ffn", "activation", "norm", "quantise", "attention_prefill",
          "attention_decode", "mla_prefill", "mla_decode", "moe_layer"}) {
      EXPECT_TRUE(kernels.contains(kernel)) << kernel;
    }
  }
}

// One small case of every kernel and pass, truly run: what `--check` does, in a moment.
TEST(CpuBackend, EveryKernelIsRight) {
  const std::unique_ptr<Backend> backend = make_cpu_backend(1);
  std::set<std::string> seen;
  for (const KernelCase& one : cpu_cases(true)) {
    std::string kind = one.kernel + " " + one.pass;
    for (const auto& [name, word] : one.options) kind += " " + word;
    if (one.sizes.contains("bytes") || one.kernel == "ceiling_matrix") continue;
    if (!seen.insert(kind).second) continue;
    EXPECT_EQ(backend->unsupported(one), "");
    const CheckResult result = backend->check(one);
    EXPECT_TRUE(result.passed()) << id_text(one) << ": " << result.where << ' '
                                 << result.worst_error << " of " << result.tolerance;
  }
  EXPECT_GE(seen.size(), 26u);
}

TEST(CpuBackend, SaysWhatItLeavesOut) {
  const std::unique_ptr<Backend> backend = make_cpu_backend(1);
  KernelCase one = gemm_case(4);
  EXPECT_EQ(backend->unsupported(one), "");
  one.implementation = "own";
  EXPECT_EQ(backend->unsupported(one), "on the CPU it is 'vendor'");
  one = gemm_case(4);
  one.dtype = "bf16";
  EXPECT_EQ(backend->unsupported(one), "the CPU's twins compute in fp32");
  one = gemm_case(4);
  one.launch = "graph";
  EXPECT_EQ(backend->unsupported(one), "a CPU has no launch graphs");
  EXPECT_NE(backend->facts().runtime.find("OpenBLAS"), std::string::npos);
  EXPECT_GT(backend->facts().memory_bytes, 0);
  EXPECT_THROW(make_cpu_backend(0), Error);
}

TEST(CpuBackend, TimesACase) {
  const std::unique_ptr<Backend> backend = make_cpu_backend(1);
  TimingPolicy policy = backend->timing(true);
  policy.least_time_s = 0;
  policy.rotating_bytes = 1 << 20;
  const Timing timing = backend->time(gemm_case(64), policy);
  EXPECT_GT(timing.p10_s, 0);
  EXPECT_LE(timing.p10_s, timing.median_s);
  EXPECT_LE(timing.median_s, timing.p90_s);
  EXPECT_EQ(timing.repeats, policy.least_repeats);
}

}  // namespace
}  // namespace sim::microbench
