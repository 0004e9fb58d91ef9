// Every kernel of the CUDA backend on small odd shapes under emulation: the very code that
// prepares, launches and checks a case on a GPU, in every order of threads. A case that was not
// launched must fail its check, or the check would not be one.
#include <gtest/gtest.h>

#include "models/microbench/cuda/cases/own_cases.h"
#include "tests/microbench/emulated.h"

namespace sim {

// ctest names a test by its parameter.
void PrintTo(const KernelCase& what, std::ostream* out) { *out << id_text(what); }

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
                                         fp8(make("gemm", {{"m", 3}, {"n", 16}, {"k", 272}}))));
INSTANTIATE_TEST_SUITE_P(Memory, CudaCase,
                         testing::Values(option(kMemory, "what", "read"),
                                         option(kMemory, "what", "write"),
                                         option(kMemory, "what", "copy"),
                                         option(kMemory, "what", "triad")));

KernelCase sigmoid(KernelCase what) { return option(std::move(what), "gate", "sigmoid"); }
KernelCase backward(KernelCase what) { return pass(std::move(what), "backward"); }

// More choices than one chunk of the expert order, a hidden size that ends in the middle of a group
// of 128, experts without rows.
const KernelCase kTopK = make("top_k", {{"tokens", 21}, {"experts", 40}, {"top_k", 3}});
const KernelCase kPermute = make(
    "permute", {{"tokens", 9}, {"hidden", 200}, {"top_k", 2}, {"experts", 5}}, {9, 0, 4, 5, 0});
const KernelCase kLongPermute =
    make("permute", {{"tokens", 700}, {"hidden", 8}, {"top_k", 3}, {"experts", 70}});
const KernelCase kUnpermute =
    make("unpermute", {{"tokens", 7}, {"hidden", 1032}, {"top_k", 3}, {"experts", 6}});
INSTANTIATE_TEST_SUITE_P(
    Routing, CudaCase,
    testing::Values(kTopK, sigmoid(kTopK), backward(kTopK), backward(sigmoid(kTopK)),
                    make("top_k", {{"tokens", 5}, {"experts", 300}, {"top_k", 8}}),
                    make("top_k", {{"tokens", 5}, {"experts", 6}, {"top_k", 6}}), kPermute,
                    option(kPermute, "quantise", "fp8"), kLongPermute, backward(kPermute),
                    kUnpermute, backward(kUnpermute)));

const KernelCase kActivation = make("activation", {{"rows", 13}, {"inter", 264}});
const KernelCase kNorm = make("norm", {{"rows", 11}, {"hidden", 2056}});
INSTANTIATE_TEST_SUITE_P(Rows, CudaCase,
                         testing::Values(kActivation, backward(kActivation), kNorm, backward(kNorm),
                                         make("norm", {{"rows", 2}, {"hidden", 8}}),
                                         make("quantise", {{"rows", 9}, {"hidden", 392}})));

const KernelCase kFfn = make(
    "expert_ffn", {{"hidden", 48}, {"inter", 32}, {"top_k", 2}, {"experts", 4}, {"tokens", 20}},
    {20, 0, 7, 13});
const KernelCase kLayer =
    make("moe_layer", {{"tokens", 12}, {"hidden", 48}, {"inter", 16}, {"experts", 8}, {"top_k", 2}},
         {12, 0, 1, 2, 0, 3, 6, 0});
INSTANTIATE_TEST_SUITE_P(Layer, CudaCase, testing::Values(kFfn, fp8(kFfn), backward(kFfn), kLayer));

KernelCase prefill(std::int64_t tokens, std::int64_t heads, std::int64_t kv_heads, std::int64_t dim,
                   std::int64_t sequences) {
  return make("attention_prefill", {{"sequences", sequences},
                                    {"tokens", tokens},
                                    {"heads", heads},
                                    {"kv_heads", kv_heads},
                                    {"head_dim", dim}});
}
KernelCase decode(std::int64_t context, std::int64_t heads, std::int64_t kv_heads, std::int64_t dim,
                  std::int64_t sequences) {
  return make("attention_decode", {{"sequences", sequences},
                                   {"context", context},
                                   {"heads", heads},
                                   {"kv_heads", kv_heads},
                                   {"head_dim", dim}});
}
KernelCase mla(const std::string& kernel, const std::string& length_name, std::int64_t length,
               std::int64_t heads, const std::string& first, std::int64_t first_size,
               const std::string& second, std::int64_t second_size) {
  return make(kernel, {{"sequences", 1},
                       {length_name, length},
                       {"heads", heads},
                       {first, first_size},
                       {second, second_size}});
}
INSTANTIATE_TEST_SUITE_P(
    Attention, CudaCase,
    testing::Values(prefill(75, 4, 2, 64, 1), prefill(130, 1, 1, 128, 1), prefill(3, 2, 1, 128, 2),
                    mla("mla_prefill", "tokens", 66, 2, "head_dim", 192, "value_dim", 128),
                    backward(prefill(75, 4, 2, 128, 1)), backward(prefill(5, 2, 2, 128, 2)),
                    backward(mla("mla_prefill", "tokens", 70, 2, "head_dim", 192, "value_dim",
                                 128)),
                    decode(300, 6, 2, 64, 1), decode(70, 16, 1, 128, 2), decode(5, 2, 2, 128, 1),
                    mla("mla_decode", "context", 260, 40, "kv_rank", 512, "rope_dim", 64),
                    mla("mla_decode", "context", 3, 2, "kv_rank", 512, "rope_dim", 64)));

TEST(CudaCases, WhatHasNoKernelSaysWhy) {
  const auto reason = [](KernelCase what) { return device_code::case_unsupported(what); };
  EXPECT_EQ(reason(make("host_copy", {{"bytes", 64}})), "no CUDA kernel");
  EXPECT_EQ(reason(make("gemm", {{"m", 3}, {"n", 12}, {"k", 8}})),
            "rows of a matrix that are no multiple of 16 bytes");
  EXPECT_EQ(reason(fp8(make("gemm", {{"m", 3}, {"n", 24}, {"k", 8}}))),
            "rows of a matrix that are no multiple of 16 bytes");
  EXPECT_EQ(reason(fp8(pass(kGemm, "wgrad"))),
            "fp8 has the forward pass of GEMM and expert_ffn only");
  EXPECT_EQ(reason(fp8(kNorm)), "this kernel's values are bf16 here");
  EXPECT_EQ(reason(make("top_k", {{"tokens", 1}, {"experts", 600}, {"top_k", 1}})),
            "a gate over more than 512 experts");
}

}  // namespace
}  // namespace sim
