#include "topologies/calibration/measured_row.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "sim/core/error.h"
#include "tests/support/shared_data.h"
#include "topologies/calibration/sources/readers.h"

namespace sim {
namespace {

std::string written(const std::string& name, const std::string& text) {
  const std::string path = (std::filesystem::path(::testing::TempDir()) / name).string();
  std::ofstream(path, std::ios::binary) << text;
  return path;
}

TEST(MeasuredRow, EverySourceReadsAndIdsAreUnique) {
  MOE_NEEDS_SHARED_DATA();
  std::set<std::string> ids;
  std::set<std::string_view> tables;
  for (const MeasuredSource& source : measured_sources()) {
    EXPECT_TRUE(tables.insert(source.table).second) << source.table;
    for (const MeasuredRow& row : read_measured(source.table, testing::shared_dir())) {
      EXPECT_TRUE(ids.insert(row.id).second) << row.id;
      EXPECT_EQ(row.table, source.table);
      EXPECT_GT(row.ranks, 1) << row.id;
      EXPECT_EQ(row.ranks % row.nodes, 0) << row.id;
      EXPECT_GT(row.time_s, 0) << row.id;
      EXPECT_LT(row.time_s, 100) << row.id;
    }
  }
}

// Rows picked by eye out of the files: message_size 4194304 half on 8 GPUs is 8 MiB, and so on.
TEST(MeasuredRow, RowsSayWhatTheFilesSay) {
  MOE_NEEDS_SHARED_DATA();
  const std::vector<MeasuredRow> aic = read_measured("aic-nccl-a100-2.27.3", testing::shared_dir());
  EXPECT_EQ(aic.size(), 504U);
  EXPECT_EQ(aic[0].operation, "all-gather");
  EXPECT_EQ(aic[0].bytes.count(), 512);
  EXPECT_DOUBLE_EQ(aic[0].time_s, 8.98e-6);
  const std::vector<MeasuredRow> rtx = read_measured("nccl-tests-rtx3090", testing::shared_dir());
  EXPECT_EQ(rtx.size(), 25U);
  EXPECT_EQ(rtx[0].ranks, 32);
  EXPECT_EQ(rtx[0].nodes, 4);
  EXPECT_DOUBLE_EQ(rtx[0].time_s, 55.57e-6);
  const std::vector<MeasuredRow> a3 = read_measured("nccl-tests-a3mega", testing::shared_dir());
  EXPECT_EQ(a3.size(), 31U);
  EXPECT_EQ(a3[0].ranks, 16);
  EXPECT_EQ(a3[0].nodes, 2);
  EXPECT_DOUBLE_EQ(a3[0].time_s, 135.8e-6);
}

TEST(MeasuredRow, AnUnknownTableIsNamedWithTheNearest) {
  try {
    read_measured("nccl-tests-rtx3080", "nowhere");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "there is no table of measurements 'nccl-tests-rtx3080'; did you mean "
                 "'nccl-tests-rtx3090'?");
  }
}

TEST(MeasuredRow, ABadCellIsNamedWithItsPlace) {
  const std::string path =
      written("bad.csv",
              "nccl_dtype,num_gpus,message_size,kernel_source,op_name,latency\n"
              "half,2,1024,NCCL,all_gather,0.006\n"
              "half,2,1024,NCCL,all_gather,-1\n");
  const MeasuredSource source{"t", "f", "c", "hgx-h100", "nccl", &read_aiconfigurator_nccl};
  std::vector<MeasuredRow> rows;
  try {
    read_aiconfigurator_nccl(source, path, rows);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.what(), path + ":3:29: latency: '-1' is not a number from 1e-06 to 1000000");
  }
}

}  // namespace
}  // namespace sim
