#include "models/roofline.h"

#include <gtest/gtest.h>

#include <numeric>

#include "models/device_reader.h"

namespace sim {
namespace {

// 100 TFLOP/s at 50 %, 1 TB/s at 80 %, 10 SMs.
Device plain_device() {
  Device device;
  device.name = "plain";
  device.sms = 10;
  device.peak = {{DType::kBf16, FlopRate(100e12)}, {DType::kFp32, FlopRate(10e12)}};
  device.memory_bandwidth = Bandwidth(1e12);
  device.memory_capacity = Bytes(1);
  device.compute_efficiency = 0.5;
  device.memory_efficiency = 0.8;
  return device;
}

ExpertFfn ffn_of(std::span<const std::int64_t> rows) {
  ExpertFfn ffn;
  ffn.rows = rows;
  ffn.hidden = 7168;
  ffn.inter = 2048;
  return ffn;
}

double seconds(const KernelCost& cost) { return to_seconds(cost.time); }

TEST(Roofline, OperatorByHand) {
  Operator op;
  op.flops = Flops(5e9);
  op.weight_bytes = Bytes(30'000'000);
  op.activation_bytes = Bytes(10'000'000);
  const KernelCost cost = Roofline().cost(op, plain_device(), 10);
  EXPECT_NEAR(to_seconds(cost.compute), 5e9 / 50e12, 1e-12);
  EXPECT_NEAR(to_seconds(cost.memory), 40e6 / 800e9, 1e-12);
  EXPECT_EQ(cost.time, cost.compute);  // 100 us against 50 us
  EXPECT_EQ(cost.label, CostLabel::kRoofline);
  EXPECT_NEAR(seconds(Roofline().cost(op, plain_device(), 5)), 200e-6, 1e-12);  // half of the SMs
  op.flops = Flops(1e9);
  EXPECT_NEAR(seconds(Roofline().cost(op, plain_device(), 10)), 50e-6, 1e-12);
  op.compute = DType::kFp8;  // no fp8 here: multiplied in bf16
  EXPECT_NEAR(seconds(Roofline().cost(op, plain_device(), 10)), 50e-6, 1e-12);
  op.compute = DType::kFp32;
  EXPECT_NEAR(seconds(Roofline().cost(op, plain_device(), 10)), 200e-6, 1e-12);
}

TEST(Roofline, ExpertsByHand) {
  // 71 rows; the third expert is not touched.
  const std::vector<std::int64_t> rows = {70, 1, 0};
  ExpertFfn ffn = ffn_of(rows);
  ffn.hidden = 100;
  ffn.inter = 50;
  const KernelCost cost = Roofline().cost(ffn, plain_device(), 10);
  const double compute = 2.0 * 71 * (100 * 100 + 50 * 100) / 50e12;
  EXPECT_NEAR(to_seconds(cost.compute), compute, 3e-12);
  const double weights = 2 * (100 * 100 + 50 * 100) * 2;
  const double activations = 71 * (100 + 100 + 100 + 50 + 50 + 100) * 2;
  EXPECT_NEAR(to_seconds(cost.memory), (weights + activations) / 800e9, 3e-12);
  const std::vector<std::int64_t> none(4, 0);
  EXPECT_EQ(Roofline().cost(ffn_of(none), plain_device(), 10).time, Duration(0));
}

// 32 experts of DeepSeek-V3 on an H100: the same rows, spread or on few experts.
TEST(Roofline, SkewIsCheaperWhenSmallAndDearerOnTheFullestRankWhenLarge) {
  const Device h100 = read_device(std::string(MOE_SOURCE_DIR) + "/models/devices/h100-sxm.yaml");
  const auto cost = [&](const std::vector<std::int64_t>& rows) {
    return seconds(Roofline().cost(ffn_of(rows), h100, h100.sms));
  };
  const std::vector<std::int64_t> few_spread(32, 2);
  std::vector<std::int64_t> few_skewed(32, 0);
  few_skewed[0] = 64;
  EXPECT_LT(cost(few_skewed), 0.1 * cost(few_spread));
  // Two ranks of 16 experts, 32 x 1024 rows in all; a hot expert takes half of them.
  const std::vector<std::int64_t> balanced_rank(16, 1024);
  std::vector<std::int64_t> hot_rank(16, 512);
  hot_rank[0] += 16384;
  const std::vector<std::int64_t> cold_rank(16, 512);
  EXPECT_GT(std::max(cost(hot_rank), cost(cold_rank)), 1.3 * cost(balanced_rank));
}

TEST(Roofline, MonotoneInRowsBandwidthAndSms) {
  Device device = plain_device();
  std::vector<std::int64_t> rows = {0, 3, 64, 100};
  double last = 0;
  for (int step = 0; step < 300; ++step) {
    const double now = seconds(Roofline().cost(ffn_of(rows), device, 10));
    EXPECT_GE(now, last);
    last = now;
    rows[static_cast<std::size_t>(step) % 4] += 1 + step % 7;
  }
  last = seconds(Roofline().cost(ffn_of(rows), device, 10));
  device.memory_bandwidth = Bandwidth(2e12);
  EXPECT_LE(seconds(Roofline().cost(ffn_of(rows), device, 10)), last);
  double before = last;
  for (int sms = 10; sms >= 1; --sms) {
    const double now = seconds(Roofline().cost(ffn_of(rows), device, sms));
    EXPECT_GE(now, before * (sms < 10 ? 1 : 0));
    before = now;
  }
}

// DeepSeek-V3's 8 local experts (EP32) in fp8 are 8 x 3 x 7168 x 2048 bytes: 105 us at the H800's
// data-sheet bandwidth, however few rows they get.
TEST(Roofline, SmallBatchesPayForTheWeights) {
  const Device h800 = read_device(std::string(MOE_SOURCE_DIR) + "/models/devices/h800-sxm.yaml");
  const std::vector<std::int64_t> rows(8, 1);
  ExpertFfn ffn = ffn_of(rows);
  ffn.compute = ffn.stored = DType::kFp8;
  const KernelCost cost = Roofline().cost(ffn, h800, h800.sms);
  EXPECT_NEAR(seconds(cost), 8.0 * 3 * 7168 * 2048 / 3.352e12 / 0.9, 2e-6);
}

struct Measured {
  std::int64_t experts, rows_each;
  double up_us, down_us;
};

// A roofline is a bound: measured kernels take longer, though not twice as long once they are
// large. DeepGEMM's masked grouped GEMM for DeepSeek-V3's experts on H800, both projections
// (github.com/alibaba/InferSim, commit f2293da, bench_data/grouped_gemm/decode/h800/data.csv).
TEST(Roofline, MeasuredGroupedGemmsLieAboveIt) {
  const Device h800 = read_device(std::string(MOE_SOURCE_DIR) + "/models/devices/h800-sxm.yaml");
  for (const Measured& m : {Measured{32, 8, 325.412, 176.222}, Measured{32, 128, 411.563, 214.079},
                            Measured{16, 64, 196.722, 102.24}, Measured{8, 32, 92.04, 52.812},
                            Measured{8, 512, 223.323, 107.076}, Measured{4, 256, 93.832, 50.987},
                            Measured{2, 2048, 214.01, 98.896}, Measured{1, 1024, 46.716, 36.92}}) {
    const std::vector<std::int64_t> rows(static_cast<std::size_t>(m.experts), m.rows_each);
    ExpertFfn ffn = ffn_of(rows);
    ffn.compute = ffn.stored = DType::kFp8;
    const double ratio =
        seconds(Roofline().cost(ffn, h800, h800.sms)) / ((m.up_us + m.down_us) * 1e-6);
    EXPECT_LT(ratio, 1.05) << m.experts << " x " << m.rows_each;
    EXPECT_GT(ratio, 0.5) << m.experts << " x " << m.rows_each;
  }
}

}  // namespace
}  // namespace sim
