// Readers of GEMM, attention and MLA tables on small files.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "models/calibration/measured_operators.h"
#include "models/calibration/sources/dense_readers.h"
#include "sim/core/error.h"

namespace sim {
namespace {

std::vector<MeasuredKernel> read_text(KernelReader* read, const std::string& table,
                                      const std::string& device, const std::string& text) {
  const std::string path =
      (std::filesystem::path(::testing::TempDir()) / "dense_table.csv").string();
  std::ofstream(path) << text;
  std::vector<MeasuredKernel> rows;
  read(KernelTable{table, "", "", device, read}, path, rows);
  return rows;
}

TEST(DenseTables, AiconfiguratorGemm) {
  const auto rows = read_text(
      read_aiconfigurator_gemm, "g", "h100-sxm",
      "framework,version,device,op_name,kernel_source,gemm_dtype,m,n,k,latency\n"
      "VLLM,0.24.0,NVIDIA H100,gemm,torch.nn.functional.linear,bfloat16,100,200,300,0.012\n"
      "VLLM,0.24.0,NVIDIA H100,gemm,CutlassFP8ScaledMMLinearKernel,fp8,100,256,384,0.012\n"
      "VLLM,0.24.0,NVIDIA H100,gemm,torch.nn.functional.linear,bfloat16,8192,8192,8192,0.5\n");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0].id, "g#1");
  EXPECT_EQ(rows[0].source, "cublas");
  EXPECT_EQ(rows[0].framework, "vllm 0.24.0");
  EXPECT_DOUBLE_EQ(rows[0].time_s, 12e-6);
  EXPECT_EQ(rows[0].op.weight_bytes, Bytes(200 * 300 * 2));
  EXPECT_EQ(rows[0].op.activation_bytes, Bytes(100 * (200 + 300) * 2));
  EXPECT_TRUE(rows[0].op.prepares);
  EXPECT_EQ(rows[1].op.compute, DType::kFp8);
  EXPECT_EQ(rows[1].op.weight_bytes, Bytes(256 * 384 + 2 * 3 * 4));
  EXPECT_FALSE(rows[0].implausible);
  EXPECT_TRUE(rows[2].implausible);  // 2200 TFLOP/s in bf16
}

TEST(DenseTables, AKernelThatNobodyKnowsHasAPlace) {
  try {
    read_text(read_aiconfigurator_gemm, "g", "h100-sxm",
              "framework,version,device,op_name,kernel_source,gemm_dtype,m,n,k,latency\n"
              "VLLM,0.24.0,NVIDIA H100,gemm,mystery,bfloat16,1,1,1,0.012\n");
    FAIL() << "it was read";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("dense_table.csv:2:30: kernel_source: 'mystery' is not a kernel that this "
                        "reader knows"),
              std::string::npos)
        << text;
  }
}

TEST(DenseTables, AiconfiguratorAttentionHasWindowsAndOneNewToken) {
  const char* columns =
      "framework,version,device,op_name,kernel_source,batch_size,isl,num_heads,"
      "num_key_value_heads,head_dim,beam_width,attn_dtype,kv_cache_dtype,step,window_size,"
      "latency\n";
  const auto decode = read_text(
      read_aiconfigurator_attention_decode, "d", "h100-sxm",
      std::string(columns) +
          "VLLM,0.24.0,H100,g,vllm_flash_attn_fa3,4,1,8,2,64,1,bfloat16,fp8,127,0,0.02\n"
          "VLLM,0.24.0,H100,g,vllm_flash_attn_fa3,4,1,8,2,64,1,bfloat16,bfloat16,255,128,0.02\n");
  ASSERT_EQ(decode.size(), 2u);
  EXPECT_EQ(to_text(decode[0].format), "fp8_kv");
  EXPECT_EQ(decode[0].op.attention.longest, 128);
  EXPECT_EQ(decode[0].op.attention.cached, 4 * 128);
  EXPECT_EQ(decode[0].op.attention.kv_value_bytes, 1);
  EXPECT_FALSE(decode[0].op.attention.windowed);
  EXPECT_EQ(decode[1].op.attention.cached, 4 * 128);
  EXPECT_TRUE(decode[1].op.attention.windowed);
  const auto prefill = read_text(
      read_aiconfigurator_attention_prefill, "p", "h100-sxm",
      std::string(columns) +
          "VLLM,0.24.0,H100,c,vllm_flash_attn_fa3,2,6,8,2,64,1,bfloat16,bfloat16,0,4,0.02\n");
  ASSERT_EQ(prefill.size(), 1u);
  EXPECT_EQ(prefill[0].op.attention.pairs, 2 * (1 + 2 + 3 + 4 + 4 + 4));
  EXPECT_EQ(prefill[0].op.attention.queries, 12);
}

TEST(DenseTables, InferSimReadsHeadsFromTheTablesName) {
  const auto rows =
      read_text(read_infersim_mla_decode, "infersim-h800-mla-decode-128-512-64", "h800-sxm",
                "dtype,kv_dtype,batch_size,kv_len,latency_us,mfu\n"
                "bf16,bf16,2,1024,20.91,0.014\n");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].source, "flashmla");
  EXPECT_EQ(rows[0].op.attention.heads, 128);
  EXPECT_EQ(rows[0].op.attention.head_dim, 576);
  EXPECT_EQ(rows[0].op.attention.value_dim, 512);
  EXPECT_EQ(rows[0].op.flops, Flops(2.0 * 2 * 1024 * 128 * 1088));
  // The latent cache once, and queries and outputs of both sequences.
  EXPECT_EQ(rows[0].op.activation_bytes, Bytes(2 * 1024 * 576 * 2 + 2 * 128 * 1088 * 2));
  EXPECT_THROW(read_text(read_infersim_mla_decode, "infersim-h800", "h800-sxm",
                         "dtype,kv_dtype,batch_size,kv_len,latency_us,mfu\n"),
               Error);
}

TEST(DenseTables, SparseAttentionAlwaysReadsTheChosenKeys) {
  const auto rows = read_text(read_infersim_sparse_decode, "s", "h800-sxm",
                              "dtype,kv_dtype,batch_size,kv_len,latency_us,mfu\n"
                              "bf16,fp8,64,1024,91.245,0.405\n"
                              "bf16,fp8,64,8192,96.312,0.383\n");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0].op.flops, rows[1].op.flops);
  // The printed share of 989 TFLOP/s is the flops' over the time.
  EXPECT_NEAR(rows[0].op.flops.count() / rows[0].time_s / 989e12, 0.405, 0.001);
  const auto scores = read_text(read_infersim_scores_prefill, "s", "h800-sxm",
                                "s_q,s_kv,latency_us,mfu\n2048,4096,101.011,0.516\n");
  ASSERT_EQ(scores.size(), 1u);
  EXPECT_NEAR(scores[0].op.flops.count() / scores[0].time_s / 1979e12, 0.516, 0.001);
}

TEST(DenseTables, ATraceTellsTheShapeOfItsAttentionOnly) {
  const auto rows = read_text(
      read_deepseek_trace, "t", "h800-sxm",
      R"({"traceEvents": [{"cat": "kernel", "name": "gemm", "dur": 5, "args": {"grid": [1, 1, 1]}},
      {"cat": "kernel", "dur": 1237,
       "name": "void flash::compute_attn_ws<Flash_fwd_kernel_traits<192, 128, 128, 12>>",
       "args": {"grid": [32, 128, 1]}}]})");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0].id, "t#2");
  EXPECT_EQ(rows[0].op.attention.pairs, 4096.0 * 4097 / 2);
  EXPECT_EQ(rows[0].op.attention.heads, 128);
  EXPECT_DOUBLE_EQ(rows[0].time_s, 1237e-6);
}

TEST(DenseTables, OperatorsOfTablesCountAsThoseOfModels) {
  const Operator op = prefill_operator(
      KernelFamily::kAttentionPrefill, {},
      {.sequences = 2, .context = 5, .heads = 2, .kv_heads = 1, .head_dim = 4, .value_dim = 4});
  EXPECT_EQ(op.flops, Flops(2 * 2 * 30 * 2 * 4));
  EXPECT_EQ(op.activation_bytes, Bytes(10 * 8 * (2 + 1) * 2));
}

}  // namespace
}  // namespace sim
