// Every kernel of the CUDA backend on small odd shapes under emulation: the very code that
// prepares, launches and checks a case on a GPU, in every order of threads. A case that was not
// launched must fail its check, or the check would not be one.
#include <gtest/gtest.h>

#include "models/microbench/cuda/cases/own_cases.h"
#include "tests/microbench/emulated.h"

namespace sim {
namespace {

using device_code::Device;
using device_code::prepare_case;

KernelCase make(const std::string& kernel, std::map<std::string, std::int64_t> sizes,
                std::vector<std::int64_t> rows = {}) {
  KernelCase what;
  what.kernel = kernel;
  what.dtype = "bf16";
  what.sizes = std::move(sizes);
  what.rows = std::move(rows);
  return what;
}
KernelCase pass(KernelCase what, const std::string& name) {
  what.pass = name;
  return what;
}
KernelCase option(KernelCase what, const std::string& name, const std::string& word) {
  what.options[name] = word;
  return what;
}
KernelCase fp8(KernelCase what) {
  what.dtype = "fp8";
  return what;
}

class CudaCase : public testing::TestWithParam<KernelCase> {};

TEST_P(CudaCase, IsRightInEveryOrderOfThreads) {
  const KernelCase& what = GetParam();
  ASSERT_EQ(case_mistakes(what), std::vector<std::string>{});
  ASSERT_EQ(device_code::case_unsupported(what), "");
  for (const emulation::Order order : emulation::kEveryOrder) {
    Device device;
    device.sms = 3;
    device.order = order;
    {
      const auto prepared = prepare_case(what, device);
      EXPECT_FALSE(prepared->check().passed()) << "passes without a launch";
      prepared->launch();
      const microbench::CheckResult result = prepared->check();
      EXPECT_TRUE(result.passed()) << result.where << " is off by " << result.worst_error << ", "
                                   << result.tolerance << " is allowed";
      prepared->launch();  // a call leaves the case as it found it
      EXPECT_TRUE(prepared->check().passed());
      EXPECT_GT(device.allocated, 0);
    }
    EXPECT_EQ(device.allocated, 0);
  }
}

std::string test_name(const testing::TestParamInfo<KernelCase>& info) {
  std::string name = std::to_string(info.index) + "_" + id_text(info.param);
  for (char& letter : name)
    if (std::isalnum(static_cast<unsigned char>(letter)) == 0) letter = '_';
  return name;
}

const KernelCase kGemm = make("gemm", {{"m", 19}, {"n", 136}, {"k", 72}});
const KernelCase kLargeGemm = make("gemm", {{"m", 133}, {"n", 24}, {"k", 200}});
const KernelCase kGrouped = make("grouped_gemm", {{"n", 72}, {"k", 136}}, {5, 0, 40, 33, 0});
const KernelCase kPadded = option(
    make("grouped_gemm", {{"n", 16}, {"k", 16}, {"tile", 16}}, {5, 0, 17}), "layout", "padded");
const KernelCase kGroupedFp8 = fp8(make("grouped_gemm", {{"n", 144}, {"k", 144}}, {3, 0, 20}));
const KernelCase kMemory = make("ceiling_memory", {{"bytes", 100'000}});

INSTANTIATE_TEST_SUITE_P(Matrix, CudaCase,
                         testing::Values(kGemm, kLargeGemm, pass(kGemm, "dgrad"),
                                         pass(kGemm, "wgrad"), kGrouped, pass(kGrouped, "dgrad"),
                                         pass(kGrouped, "wgrad"), kPadded, kGroupedFp8,
                                         fp8(make("gemm", {{"m", 3}, {"n", 16}, {"k", 272}}))),
                         test_name);
INSTANTIATE_TEST_SUITE_P(Memory, CudaCase,
                         testing::Values(option(kMemory, "what", "read"),
                                         option(kMemory, "what", "write"),
                                         option(kMemory, "what", "copy"),
                                         option(kMemory, "what", "triad")),
                         test_name);

}  // namespace
}  // namespace sim
