// What the tables of dispatch and combine count, checked row by row against a hand calculation.
#include <gtest/gtest.h>

#include <set>

#include "sim/core/error.h"
#include "tests/support/shared_data.h"
#include "topologies/calibration/measured_row.h"
#include "topologies/calibration/sources/exchange_readers.h"
#include "topologies/calibration/token_traffic.h"

namespace sim {
namespace {

MeasuredRow row_of_table(std::string_view table, std::size_t number) {
  const std::vector<MeasuredRow> rows = read_measured(table, testing::shared_dir());
  EXPECT_GE(rows.size(), number);
  const MeasuredRow& row = rows.at(number - 1);
  EXPECT_EQ(row.id, std::string(table) + "#" + std::to_string(number));
  return row;
}

TEST(ExchangeReaders, EveryTableReadsAndEveryRowIsWhole) {
  MOE_NEEDS_SHARED_DATA();
  std::set<std::string> ids;
  std::size_t count = 0;
  for (const MeasuredSource& source : exchange_sources()) {
    for (const MeasuredRow& row : read_measured(source.table, testing::shared_dir())) {
      ++count;
      EXPECT_TRUE(ids.insert(row.id).second) << row.id;
      EXPECT_TRUE(row.operation == "dispatch" || row.operation == "combine") << row.id;
      EXPECT_GT(row.time_s, 1e-6) << row.id;
      EXPECT_LT(row.time_s, 1) << row.id;
      EXPECT_GT(row.tokens, 0) << row.id;
      EXPECT_GT(row.hidden, 0) << row.id;
      EXPECT_LE(row.top_k, row.experts) << row.id;
      EXPECT_EQ(row.ranks % row.nodes, 0) << row.id;
      EXPECT_EQ(row.implausible, row.implausible && !row.note.empty()) << row.id;
      EXPECT_GT(counted_bytes(row.hidden, row.dtype), 0) << row.id;
    }
  }
  EXPECT_GT(count, 12000U);
}

TEST(ExchangeReaders, LowLatencyIsPrintedInMicroseconds) {
  MOE_NEEDS_SHARED_DATA();
  const MeasuredRow dispatch = row_of_table("aic-deepep-ll-h100-nodes", 23);
  EXPECT_EQ(dispatch.operation, "dispatch");
  EXPECT_EQ(dispatch.tokens, 128);
  EXPECT_NEAR(dispatch.time_s, 39.8287e-6, 1e-12);
  const MeasuredRow combine = row_of_table("deepep/deepep_v1_low_latency_2025_06_05", 8);
  EXPECT_EQ(combine.nodes, 16);
  EXPECT_EQ(combine.dtype, "bf16");
  EXPECT_NEAR(combine.time_s, 369e-6, 1e-12);
  EXPECT_EQ(row_of_table("deepep/deepep_v1_low_latency_2025_02_24", 1).algorithm,
            "deepep-low-latency-no-nvlink");
}

TEST(ExchangeReaders, LogicalBandwidthCountsTheLocalNode) {
  MOE_NEEDS_SHARED_DATA();
  // 4096 tokens x 1.99 nodes x 7168 x (1 + 4/128) bytes at 43 GB/s.
  const MeasuredRow two_nodes = row_of_table("deepep/deepep_v1_normal_final", 3);
  EXPECT_NEAR(two_nodes.time_s, 4096 * expected_groups(2, 256, 8) * 7392 / 43e9, 3e-6);
  // One node: distinct ranks, the own one included, at 153 GB/s.
  const MeasuredRow one_node = row_of_table("deepep/deepep_v1_normal_final", 1);
  EXPECT_NEAR(one_node.time_s, 4096 * expected_groups(8, 256, 8) * 7392 / 153e9, 3e-6);
  // Eight nodes are limited to four: 3.98 nodes per token at 50 GB/s in bf16.
  const MeasuredRow eight_nodes = row_of_table("deepep/deepep_v1_normal_final", 6);
  EXPECT_NEAR(eight_nodes.time_s, 4096 * 3.98 * 14336 / 50e9, 3e-5);
}

TEST(ExchangeReaders, MorisTwoColumnsShareOneTime) {
  MOE_NEEDS_SHARED_DATA();
  // EP16 prints 171 GB/s over ranks and 52 GB/s over nodes: the same time within rounding.
  const MeasuredRow row = row_of_table("mori/mori_ep_bandwidth", 3);
  EXPECT_NEAR(row.time_s, 4096 * expected_groups(2, 256, 8) * 7392 / 52e9, 0.02 * row.time_s);
}

TEST(ExchangeReaders, APerfectRouterSendsToEightOfSixteen) {
  MOE_NEEDS_SHARED_DATA();
  // The blog's own definition: T min(EP, 8) b / t = 684.1 GB/s at EP16, 2048 tokens.
  for (const MeasuredRow& row :
       read_measured("trtllm/trtllm_nvlink_onesided_gb200_bf16", testing::shared_dir())) {
    if (row.ranks != 16 || row.tokens != 2048 || row.operation != "dispatch") continue;
    EXPECT_NEAR(2048 * 8 * 14336 / row.time_s / 1e9, 684.1, 0.2);
    EXPECT_TRUE(row.balanced);
  }
}

TEST(ExchangeReaders, CountedBytesCarryScalesAndNoHeader) {
  EXPECT_EQ(counted_bytes(7168, "fp8"), 7392);
  EXPECT_EQ(counted_bytes(7168, "bf16"), 14336);
  EXPECT_EQ(counted_bytes(7168, "nvfp4"), 4032);
  try {
    counted_bytes(7168, "int3");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "'int3' is not a type that tokens travel in; bf16, fp8 and nvfp4 are");
  }
}

}  // namespace
}  // namespace sim
