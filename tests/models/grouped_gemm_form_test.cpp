// The form of fused expert layers: by hand, and what must rise or fall whatever the constants are.
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "models/calibration/synthetic_routing.h"
#include "models/costs/grouped_gemm.h"
#include "sim/core/random.h"

namespace sim {
namespace {

class GroupedGemm : public ::testing::Test {
 protected:
  GroupedGemm() {
    for (const FormParameter& parameter : kGroupedGemmForm.parameters) {
      values_.push_back(parameter.absent);
    }
    set("start", 10e-6);
    set("compute_share", 0.5);
    set("memory_share", 1);
    set("smoothness", 1);  // one after the other: a sum that can be done by hand
    set("tile_least", 16);
    set("tile_most", 16);
    ffn_.hidden = 256;
    ffn_.inter = 128;
    ffn_.tokens = 8;
    ffn_.top_k = 4;
    ffn_.experts = 12;
  }
  void set(std::string_view key, double value) {
    for (std::size_t i = 0; i < values_.size(); ++i) {
      if (kGroupedGemmForm.parameters[i].key == key) values_[i] = value;
    }
  }
  double seconds(const std::vector<std::int64_t>& rows) {
    ffn_.rows = rows;
    return kGroupedGemmForm.time({.experts = &ffn_}, rates_, values_).time;
  }

  std::vector<double> values_;
  ExpertFfn ffn_;
  DeviceRates rates_{1e12, 1e11, 10};
};

TEST_F(GroupedGemm, ByHand) {
  // Tiles of 16: 1 + 0 + 2 = 3, two experts touched, 23 rows.
  // up   256 x 256: 2 3 16 65536 / 5e11 = 12.583 us; (2 131072 + 23 1024) / 1e11 = 2.857 us
  // down 256 x 128:                        6.291 us; (2  65536 + 23  768) / 1e11 = 1.487 us
  EXPECT_NEAR(seconds({3, 0, 20}), 33.218688e-6, 1e-12);
  set("activation", 1);  // (4 8 256 + 23 (256 8 + 128 12)) / 1e11 = 0.906 us
  EXPECT_NEAR(seconds({3, 0, 20}), 34.124928e-6, 1e-12);
  set("remote", 1);  // 8 tokens make 32 choices, 9 of them elsewhere: 9 (256 + 128) 2 / 1e11
  EXPECT_NEAR(seconds({3, 0, 20}), 34.194048e-6, 1e-12);
}

TEST_F(GroupedGemm, TheLastWaveIsRagged) {
  rates_.sms = 4;  // 3 tiles x 2 column tiles on 4 SMs: 2 waves for 1.5
  const double even = seconds({3, 0, 20});
  set("wave", 1);
  EXPECT_NEAR(seconds({3, 0, 20}) - even, (12.582912e-6 + 6.291456e-6) / 3, 1e-12);
}

TEST_F(GroupedGemm, NoRowsCostNothingAndEmptyExpertsAddNothing) {
  EXPECT_EQ(seconds({0, 0, 0}), 0);
  EXPECT_EQ(seconds({}), 0);
  EXPECT_DOUBLE_EQ(seconds({5, 0, 0, 7}), seconds({5, 7}));
}

TEST_F(GroupedGemm, NotGatedHasOneMatrixLess) {
  const double gated = seconds({16});
  ffn_.gated = false;
  EXPECT_LT(seconds({16}), gated);
  ffn_.extra_up = 1;  // one more before the activation: as many as gated
  EXPECT_DOUBLE_EQ(seconds({16}), gated);
}

TEST_F(GroupedGemm, TileRulesOfTheBatch) {
  const auto tile = [&](TileRule rule, std::int64_t tokens) {
    ffn_.tokens = tokens;
    ffn_.top_k = 8;
    ffn_.experts = 256;
    return 1 << log2_tile(rule, ffn_);
  };
  const TileRule mean{TileRule::kMeanRows, 1, 4, 6};  // twice the mean rows, 16 to 64
  EXPECT_EQ(tile(mean, 64), 16);
  EXPECT_EQ(tile(mean, 512), 32);  // 16 rows an expert
  EXPECT_EQ(tile(mean, 65536), 64);
  const TileRule two{TileRule::kTwoSizes, 0, 4, 6};
  EXPECT_EQ(tile(two, 256), 16);
  EXPECT_EQ(tile(two, 257), 64);
  const TileRule sixteenth{TileRule::kSixteenth, 0, 4, 7};
  EXPECT_EQ(tile(sixteenth, 1024), 64);
}

// Rows, SMs and bandwidth: more work never takes less time, more of a device never more.
TEST_F(GroupedGemm, IsMonotone) {
  set("smoothness", 2.3);
  set("activation", 1.2);
  set("tile_rows", 40);
  RandomStream random(3, "monotone");
  for (int round = 0; round < 300; ++round) {
    ffn_.hidden = 128 * static_cast<std::int64_t>(1 + random.below(60));
    ffn_.inter = 16 * static_cast<std::int64_t>(1 + random.below(200));
    std::vector<std::int64_t> rows(1 + random.below(40));
    for (std::int64_t& each : rows) each = static_cast<std::int64_t>(random.below(300));
    rows[0] += 1;
    const double before = seconds(rows);
    std::vector<std::int64_t> more = rows;
    more[random.below(more.size())] += static_cast<std::int64_t>(1 + random.below(100));
    EXPECT_GE(seconds(more), before);
    const DeviceRates rates = rates_;
    rates_.bytes *= 1.5;
    EXPECT_LT(seconds(rows), before);
    rates_ = {rates.flops * 2, rates.bytes, rates.sms * 2};  // twice the SMs
    EXPECT_LT(seconds(rows), before);
    rates_ = rates;
  }
}

// Twice the SMs halve the waves at best, and never add one.
TEST_F(GroupedGemm, WavesNeverPunishMoreSms) {
  set("wave", 1);
  for (int sms = 1; sms < 150; ++sms) {
    rates_ = {1e10 * sms, 1e11, sms};
    const double before = seconds({100, 200, 7});
    rates_ = {1e10 * (sms + 1), 1e11, sms + 1};
    EXPECT_LE(seconds({100, 200, 7}), before * (1 + 1e-12)) << sms;
  }
}

// DeepSeek-V3 on 8 ranks: at few tokens skew spares weights, at many the fullest rank has more
// rows.
TEST_F(GroupedGemm, SkewIsCheaperAtFewTokensAndDearerAtMany) {
  rates_ = {1979e12, 3.35e12, 132};
  ffn_.hidden = 7168;
  ffn_.inter = 2048;
  ffn_.compute = ffn_.stored = DType::kFp8;
  set("tile_least", 64);
  set("tile_most", 128);
  const auto mean = [&](double exponent, std::int64_t tokens) {
    double sum = 0;
    const auto draws = draw_rows({exponent, tokens, 8, 256, 8, 0});
    for (const auto& draw : draws) {
      ffn_.tokens = std::accumulate(draw.begin(), draw.end(), std::int64_t{0});
      ffn_.top_k = 1;
      ffn_.experts = 32;
      sum += seconds(draw);
    }
    return sum / static_cast<double>(draws.size());
  };
  EXPECT_LT(mean(1.2, 64) / mean(0, 64), 0.95);
  EXPECT_GT(mean(1.2, 32768) / mean(0, 32768), 1.2);
}

}  // namespace
}  // namespace sim
