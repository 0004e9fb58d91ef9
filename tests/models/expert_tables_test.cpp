// Tables of measured expert layers: what a row means, which rows are marked, and the routing that a
// benchmark drew.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <numeric>

#include "models/calibration/measured_kernel.h"
#include "models/calibration/sources/expert_readers.h"
#include "sim/core/error.h"
#include "tests/support/shared_data.h"

namespace sim {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kHeader =
    "framework,version,device,op_name,kernel_source,moe_dtype,num_tokens,hidden_size,inter_size,"
    "topk,num_experts,moe_tp_size,moe_ep_size,distribution,latency\n";

class ExpertTables : public ::testing::Test {
 protected:
  std::vector<MeasuredKernel> read(const KernelTable& table, const std::string& rows,
                                   const std::string& header = kHeader) {
    const std::string path = ::testing::TempDir() + "expert_table.csv";
    std::ofstream(path) << header << rows;
    std::vector<MeasuredKernel> result;
    table.read(table, path, result);
    std::filesystem::remove(path);
    return result;
  }

  KernelTable moe_{"t", "", "", "h100-sxm", &read_aiconfigurator_moe};
  KernelTable a100_{"t", "", "", "a100-sxm-80gb", &read_aiconfigurator_moe};
  KernelTable wide_{"t", "", "", "h100-sxm", &read_aiconfigurator_wide_ep};
};

constexpr const char* kVllm = "VLLM,0.24.0,NVIDIA H100,moe,";
constexpr const char* kTriton = "vllm_unquantizedfusedmoe_triton_tritonexperts,bfloat16,";

TEST_F(ExpertTables, ARowIsOneRanksCallInSeconds) {
  const auto rows =
      read(moe_, std::string(kVllm) + kTriton + "6,2048,768,8,128,2,4,balanced,0.25\n");
  ASSERT_EQ(rows.size(), 1u);
  MeasuredKernel row = rows[0];
  EXPECT_EQ(row.id, "t#1");
  EXPECT_EQ(row.source, "vllm-triton");
  EXPECT_EQ(row.framework, "vllm 0.24.0");
  EXPECT_DOUBLE_EQ(row.time_s, 0.25e-3);
  EXPECT_EQ(row.experts.inter, 384);  // of the half of tensor parallelism
  EXPECT_TRUE(row.experts.gated);
  EXPECT_FALSE(row.implausible);
  fill_draws(row);
  // 48 choices over 4 ranks: 12 rows on 32 experts.
  ASSERT_EQ(row.draws.size(), 1u);
  EXPECT_EQ(row.draws[0].size(), 32u);
  EXPECT_EQ(std::accumulate(row.draws[0].begin(), row.draws[0].end(), 0), 12);
  const ExpertFfn call = call_of(row, row.draws[0]);
  EXPECT_EQ(call.tokens, 6);  // an expert map: the kernel sees every choice
  EXPECT_EQ(call.experts, 128);
}

TEST_F(ExpertTables, SquaredReluHasTwoMatricesButNotInTheA100Tables) {
  const std::string row = std::string(kVllm) + kTriton + "6,2688,1856,6,128,1,1,balanced,0.9\n";
  EXPECT_FALSE(read(moe_, row)[0].experts.gated);
  EXPECT_TRUE(read(a100_, row)[0].experts.gated);
}

TEST_F(ExpertTables, RowsThatCannotBeAreMarked) {
  // 128 experts of 9.4 MB in 0.1 ms are 12 TB/s.
  const auto fast =
      read(moe_, std::string(kVllm) + kTriton + "512,2048,768,8,128,1,1,balanced,0.1\n");
  EXPECT_TRUE(fast[0].implausible);
  const auto gated = read(moe_, std::string(kVllm) +
                                    "vllm_fp8moe_triton_tritonexperts,fp8_block,512,7168,2048,8,"
                                    "256,1,1,power_law_1.2,9.5\n");
  EXPECT_THAT(gated[0].note, HasSubstr("group-limited gating"));
  const auto remote = read(moe_,
                           "SGLang,0.5.14,NVIDIA H100,moe,sglang_fused_moe_triton,bfloat16,512,"
                           "2048,768,8,128,1,2,balanced,9.5\n");
  EXPECT_THAT(remote[0].note, HasSubstr("expert 0"));
}

TEST_F(ExpertTables, BehindADispatchAKernelSeesItsRowsAlone) {
  auto rows = read(wide_,
                   "SGLang,0.5.10,NVIDIA H100,moe_generation,deepepmoe,fp8_block,1024,7168,2048,8,"
                   "256,1,64,uniform,0.09\n");
  fill_draws(rows[0]);
  EXPECT_THAT(rows[0].draws, ElementsAre(ElementsAre(32, 32, 32, 32)));
  const ExpertFfn call = call_of(rows[0], rows[0].draws[0]);
  EXPECT_EQ(call.tokens, 128);
  EXPECT_EQ(call.top_k, 1);
  EXPECT_EQ(call.experts, 4);
}

TEST_F(ExpertTables, AnUnknownWordIsSaidWithItsPlace) {
  try {
    read(moe_, std::string(kVllm) + "a_new_kernel,bfloat16,6,2048,768,8,128,1,1,balanced,0.25\n");
    FAIL() << "a kernel that no reader knows";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr(":2:"));
    EXPECT_THAT(error.what(), HasSubstr("'a_new_kernel' is not a kernel that this reader knows"));
  }
}

// 127 rows by the printed share of the peak: 4 n k rows / peak = share x time, and half of 256
// experts are hit at one token an expert.
TEST_F(ExpertTables, InferSimsRowsComeFromTheShareOfThePeak) {
  const KernelTable table{"infersim-decode", "", "", "h800-sxm", &read_infersim_grouped};
  const auto rows = read(table, "256,1,256,8,7168,2048,32,1,1297.0,0.002905,721.665,0.002796\n",
                         "num_experts,num_gpus,num_local_experts,topk,hidden_size,"
                         "intermediate_size,batch_size_per_gpu,tokens_per_expert,up_proj_us,up_mfu,"
                         "down_proj_us,down_mfu\n");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_DOUBLE_EQ(rows[0].time_s, (1297.0 + 721.665) * 1e-6);
  const std::vector<std::int64_t>& draw = rows[0].draws.at(0);
  EXPECT_EQ(draw.size(), 256u);
  EXPECT_EQ(std::accumulate(draw.begin(), draw.end(), 0), 127);
  EXPECT_EQ(*std::max_element(draw.begin(), draw.end()), 1);
}

TEST_F(ExpertTables, FrontiersShortRowsAreTheHostsFloor) {
  const KernelTable table{"frontier", "", "", "h800-sxm", &read_frontier_moe};
  const auto rows = read(table,
                         "1,16,8,2048,768,2,0.12\n64,16,8,2048,768,2,0.15\n"
                         "4096,16,8,2048,768,2,1.5\n4096,16,8,2048,768,2,\n",
                         "num_tokens,num_experts_per_device,router_topk,hidden_dim,"
                         "expert_hidden_dim,num_tensor_parallel_workers,"
                         "time_stats.moe_grouped_gemm.median\n");
  ASSERT_EQ(rows.size(), 3u);  // the last is about another kernel
  EXPECT_TRUE(rows[0].implausible);
  EXPECT_TRUE(rows[1].implausible);
  EXPECT_FALSE(rows[2].implausible);
  EXPECT_EQ(rows[2].experts.inter, 384);
  EXPECT_EQ(rows[2].draws[0][0], 4096 * 8 / 16);
}

TEST_F(ExpertTables, PublishedRecordsLackWhatDidNotRun) {
  const KernelTable table{"aic/aic_moe_generation_skew_b200_sxm", "", "", "b200-sxm",
                          &read_aiconfigurator_skew};
  const auto rows =
      read(table, "- [64, 1024, 0.08784, null, 0.09224, 0.10127, 0.10532, 0.12151]\n",
           "records:\n- id: aic_moe_generation_skew_b200_sxm\n"
           "  columns: [moe_ep_size, num_tokens, uniform, power_law_0.6, power_law_0.8,"
           " power_law_1.01, power_law_1.02, power_law_1.2]\n  values:\n  ");
  ASSERT_EQ(rows.size(), 5u);
  EXPECT_EQ(rows[0].distribution, "balanced");
  EXPECT_EQ(rows[1].distribution, "power_law_0.8");
  EXPECT_DOUBLE_EQ(rows[1].time_s, 0.09224e-3);
  EXPECT_EQ(rows[1].source, "deepgemm-masked");
}

TEST_F(ExpertTables, DeepGemmsTwoGemmsAreOneLayer) {
  const KernelTable table{"deepgemm/grouped", "", "", "h800-sxm", &read_deepgemm_grouped};
  const auto rows = read(table,
                         "  - {groups: 4, m_per_group: 8192, n: 4096, k: 7168, tflops: 1297}\n"
                         "  - {groups: 4, m_per_group: 8192, n: 7168, k: 2048, tflops: 1099}\n",
                         "records:\n- id: grouped\n  values:\n");
  ASSERT_EQ(rows.size(), 1u);
  // 2 4 8192 (4096 7168 / 1297e12 + 7168 2048 / 1099e12)
  EXPECT_NEAR(rows[0].time_s, 65536.0 * (29360128 / 1297e12 + 14680064 / 1099e12), 1e-12);
  EXPECT_THAT(rows[0].draws, ElementsAre(ElementsAre(8192, 8192, 8192, 8192)));
}

TEST(SyntheticRouting, BalancedRowsAreSpreadEvenly) {
  EXPECT_THAT(draw_rows({0, 3, 2, 4, 1, 0}), ElementsAre(ElementsAre(2, 2, 1, 1)));
  EXPECT_THAT(draw_rows({0, 4, 2, 4, 2, 0}), ElementsAre(ElementsAre(2, 2)));
}

TEST(SyntheticRouting, APowerLawKeepsItsChoicesAndTimesTheFullestRank) {
  const auto whole = draw_rows({1.2, 512, 8, 64, 1, 0});
  ASSERT_EQ(whole.size(), 10u);
  for (const auto& draw : whole) {
    EXPECT_EQ(std::accumulate(draw.begin(), draw.end(), 0), 512 * 8);
    EXPECT_LE(*std::max_element(draw.begin(), draw.end()), 512);  // one row of a token per expert
  }
  for (const auto& draw : draw_rows({1.2, 512, 8, 64, 8, 0})) {
    EXPECT_EQ(draw.size(), 8u);
    EXPECT_GE(std::accumulate(draw.begin(), draw.end(), 0), 512);  // an eighth at least
  }
  EXPECT_EQ(draw_rows({1.2, 512, 8, 64, 8, 0}), draw_rows({1.2, 512, 8, 64, 8, 0}));
}

TEST(SyntheticRouting, ABalancerWithCopiesLowersTheFullestRank) {
  const auto rows = [](std::int64_t slots) {
    double sum = 0;
    for (const auto& draw : draw_rows({1.2, 2048, 8, 64, 8, slots})) {
      sum += std::accumulate(draw.begin(), draw.end(), 0.0) / 10;
    }
    return sum;
  };
  EXPECT_LT(rows(64), rows(0));
  EXPECT_LT(rows(80), rows(64));
  EXPECT_GE(rows(80), 2048);  // the mean of a rank
}

TEST(ExpertTablesOfThePublicData, AreReadWhole) {
  MOE_NEEDS_SHARED_DATA();
  const std::vector<MeasuredKernel> rows =
      read_kernels("aic-h100-trtllm-moe", testing::shared_dir());
  EXPECT_EQ(rows.size(), 4158u);
  for (const MeasuredKernel& row : rows) EXPECT_GT(row.time_s, 1e-6);
}

}  // namespace
}  // namespace sim
