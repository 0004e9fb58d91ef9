// Every closed form but the experts' against a hand computation, and what must hold at any size.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "models/costs/cost_form.h"
#include "models/costs/smooth_maximum.h"

namespace sim {
namespace {

constexpr DeviceRates kRates = {.flops = 100e12, .bytes = 1e12, .sms = 10};

// Values of a form by key; the others take what an entry without them has.
std::vector<double> values_of(const CostForm& form,
                              const std::vector<std::pair<std::string_view, double>>& given) {
  std::vector<double> values;
  for (const FormParameter& parameter : form.parameters) values.push_back(parameter.absent);
  for (const auto& [key, value] : given) {
    bool known = false;
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (form.parameters[i].key != key) continue;
      values[i] = value;
      known = true;
    }
    EXPECT_TRUE(known) << key;
  }
  return values;
}

Operator gemm_of(std::int64_t m, std::int64_t n, std::int64_t k) {
  Operator op;
  op.family = KernelFamily::kGemm;
  op.m = m;
  op.n = n;
  op.k = k;
  op.weight_bytes = Bytes(2 * n * k);
  op.activation_bytes = Bytes(2 * m * (n + k));
  return op;
}

KernelParts time_of(const CostForm& form, const Operator& op, const std::vector<double>& values,
                    const DeviceRates& rates = kRates) {
  return form.time({.op = &op}, rates, values);
}

TEST(SmoothMaximum, BetweenTheLongerAndTheSum) {
  EXPECT_DOUBLE_EQ(smooth_maximum(3, 4, 2), 5);
  EXPECT_DOUBLE_EQ(smooth_maximum(3, 4, 1), 7);
  EXPECT_DOUBLE_EQ(smooth_maximum(0, 4, 2), 4);
  EXPECT_NEAR(smooth_maximum(1e-12, 4e-12, 8), 4e-12, 1e-16);
}

TEST(GemmForm, ByHand) {
  // 130 rows are two tiles of 128; 2 x 8 tiles on 10 SMs are 1.6 a SM, two waves.
  Operator op = gemm_of(130, 1024, 2048);
  const auto values = values_of(kGemmForm, {{"start", 2e-6},
                                            {"compute_share", 0.5},
                                            {"memory_share", 0.8},
                                            {"smoothness", 2},
                                            {"wave", 0.5},
                                            {"per_1024_k", 1e-6},
                                            {"row_quantise", 1e-9},
                                            {"value_quantise", 3}});
  const KernelParts parts = time_of(kGemmForm, op, values);
  const double compute = 2.0 * 256 * 1024 * 2048 / 50e12 * (1 + 0.5 * (2 / 1.6 - 1));
  const double memory = (2.0 * 1024 * 2048 + 2.0 * 130 * (1024 + 2048)) / 0.8e12;
  EXPECT_NEAR(parts.compute, compute, 1e-15);
  EXPECT_NEAR(parts.memory, memory, 1e-15);
  EXPECT_NEAR(parts.fixed, 4e-6, 1e-15);
  EXPECT_NEAR(parts.time, 4e-6 + std::hypot(compute, memory), 1e-14);
  op.prepares = true;  // quantises its rows itself
  EXPECT_NEAR(time_of(kGemmForm, op, values).time - parts.time, 130 * (1e-9 + 3 * 2048 / 1e12),
              1e-14);
}

TEST(GemmForm, FewTilesAndSplitsOfK) {
  // Two tiles for ten SMs, and a loop over 4096 of which splits leave 1024.
  const auto values =
      values_of(kGemmForm,
                {{"compute_share", 1}, {"few_tiles", 0.5}, {"per_1024_k", 1e-6}, {"k_most", 1024}});
  const KernelParts parts = time_of(kGemmForm, gemm_of(128, 256, 4096), values);
  EXPECT_NEAR(parts.compute, 2.0 * 128 * 256 * 4096 / 100e12 * std::sqrt(5), 1e-15);
  EXPECT_NEAR(parts.fixed, 1e-6, 1e-15);
}

TEST(GemmForm, TilesFollowTheRows) {
  const auto values = values_of(kGemmForm, {{"compute_share", 1}});
  const auto compute = [&](std::int64_t m) {
    return time_of(kGemmForm, gemm_of(m, 128, 1024), values).compute;
  };
  EXPECT_DOUBLE_EQ(compute(1), compute(16));  // the least tile
  EXPECT_DOUBLE_EQ(compute(17), 2 * compute(16));
  EXPECT_DOUBLE_EQ(compute(65), compute(128));
  EXPECT_DOUBLE_EQ(compute(129), 2 * compute(128));  // one row above a tile costs a tile
}

TEST(GemmForm, MoreWorkIsNeverCheaperAndMoreSmsNeverDearer) {
  const auto values = values_of(kGemmForm, {{"wave", 0.3}, {"per_1024_k", 1e-7}});
  double last = 0;
  for (std::int64_t m = 1; m < 5000; m += 7) {
    const double now = time_of(kGemmForm, gemm_of(m, 4096, 1024), values).time;
    EXPECT_GE(now, last * (1 - 1e-12)) << m;
    last = now;
  }
  for (const std::int64_t m : {1, 100, 1000, 10000}) {
    double before = 1;
    for (int sms = 1; sms <= 132; ++sms) {
      const DeviceRates rates = {.flops = 1e13 * sms, .bytes = 1e12, .sms = sms};
      const double now = time_of(kGemmForm, gemm_of(m, 4096, 1024), values, rates).time;
      EXPECT_LE(now, before * (1 + 1e-12)) << m << " rows on " << sms;
      before = now;
    }
  }
}

Operator attention_of(double sequences, double context, std::int64_t heads, std::int64_t kv) {
  Operator op;
  op.attention = {.sequences = sequences,
                  .queries = sequences,
                  .pairs = sequences * context,
                  .cached = sequences * context,
                  .longest = context,
                  .heads = heads,
                  .kv_heads = kv,
                  .head_dim = 128,
                  .value_dim = 64,
                  .kv_value_bytes = 1};
  return op;
}

TEST(AttentionDecodeForm, ByHand) {
  const Operator op = attention_of(10, 1000, 32, 4);
  const auto values = values_of(kAttentionDecodeForm, {{"start", 1e-5},
                                                       {"compute_share", 0.5},
                                                       {"memory_share", 0.8},
                                                       {"smoothness", 2},
                                                       {"group_tile", 16},
                                                       {"per_head", 1e-8},
                                                       {"per_1024_keys", 1e-6},
                                                       {"keys_most", 512}});
  const KernelParts parts = time_of(kAttentionDecodeForm, op, values);
  const double memory = 10 * 1000 * 4 * 192 / 0.8e12;
  // 8 queries share a cached head, and the MMA has 16 rows.
  const double compute = 2.0 * 10000 * 4 * 192 * 16 / 50e12;
  EXPECT_NEAR(parts.memory, memory, 1e-15);
  EXPECT_NEAR(parts.compute, compute, 1e-15);
  EXPECT_NEAR(parts.fixed, 1e-5 + 40e-8 + 0.5e-6, 1e-15);
  EXPECT_NEAR(parts.time, parts.fixed + std::hypot(memory, compute), 1e-15);
  // 64 queries per cached head fill more than a tile.
  EXPECT_NEAR(time_of(kAttentionDecodeForm, attention_of(10, 1000, 256, 4), values).compute,
              4 * compute, 1e-15);
}

TEST(AttentionDecodeForm, AWindowBringsATileOfHiddenKeys) {
  Operator op = attention_of(10, 128, 8, 1);
  const auto values =
      values_of(kAttentionDecodeForm,
                {{"memory_share", 1}, {"window_start", 2e-6}, {"window_keys", 64}, {"prepare", 6}});
  const double plain = time_of(kAttentionDecodeForm, op, values).memory;
  op.attention.windowed = true;
  const KernelParts windowed = time_of(kAttentionDecodeForm, op, values);
  EXPECT_NEAR(windowed.memory, plain * 1.5, 1e-15);
  EXPECT_NEAR(windowed.fixed, 2e-6, 1e-15);
  op.prepares = true;  // writes ten new keys and values to the cache
  EXPECT_NEAR(time_of(kAttentionDecodeForm, op, values).time - windowed.time, 6 * 10 * 192 / 1e12,
              1e-15);
}

TEST(MlaDecodeForm, ByHand) {
  Operator op = attention_of(8, 4096, 128, 1);
  op.attention.head_dim = 576;
  op.attention.value_dim = 512;
  op.attention.kv_value_bytes = 2;
  const auto values = values_of(kMlaDecodeForm, {{"start", 2e-5},
                                                 {"compute_share", 0.6},
                                                 {"memory_share", 0.7},
                                                 {"smoothness", 2},
                                                 {"per_sequence", 1e-7}});
  const KernelParts parts = time_of(kMlaDecodeForm, op, values);
  const double memory = 8 * 4096 * 576 * 2 / 0.7e12;
  const double compute = 2.0 * 8 * 4096 * 128 * 1088 / 60e12;
  EXPECT_NEAR(parts.time, 2e-5 + 8e-7 + std::hypot(memory, compute), 1e-14);
  op.attention.heads = 16;  // fewer than the 64 rows of a tile: as dear as 64
  EXPECT_NEAR(time_of(kMlaDecodeForm, op, values).compute, compute / 2, 1e-15);
}

TEST(AttentionPrefillForm, ByHandAndMlaIsTheSame) {
  Operator op = attention_of(2, 300, 6, 3);
  op.attention.queries = 600;
  op.attention.pairs = 2 * 300.0 * 301 / 2;
  op.activation_bytes = Bytes(1'000'000);
  for (const CostForm* form : {&kAttentionPrefillForm, &kMlaPrefillForm}) {
    const auto values = values_of(*form, {{"start", 1e-5},
                                          {"compute_share", 0.5},
                                          {"memory_share", 0.8},
                                          {"smoothness", 2},
                                          {"wave", 0.5},
                                          {"tile", 128},
                                          {"per_tile", 1e-8},
                                          {"per_1024_keys", 1e-6}});
    const KernelParts parts = time_of(*form, op, values);
    // Two queries' heads share a cached one: 600 rows of a sequence are 5 tiles of 128, 30 tiles in
    // all: three whole waves of 10 SMs, of 3840 rows where there are 3600.
    const double compute = 2.0 * (90300 + 600 * 64) * 6 * 192 * 3840 / 3600 / 50e12;
    EXPECT_NEAR(parts.compute, compute, 1e-15);
    EXPECT_NEAR(parts.memory, 1e6 / 0.8e12, 1e-15);
    EXPECT_NEAR(parts.time,
                1e-5 + 30 * 1e-8 + 1e-6 * 300 / 1024 + std::hypot(compute, 1e6 / 0.8e12), 1e-14);
    const DeviceRates wider = {.flops = 100e12, .bytes = 1e12, .sms = 20};  // two waves for 1.5
    EXPECT_NEAR(time_of(*form, op, values, wider).compute, compute * (1 + 0.5 / 3), 1e-15);
  }
}

TEST(AttentionForms, LongerContextsAreNeverCheaper) {
  for (const CostForm* form :
       {&kAttentionDecodeForm, &kMlaDecodeForm, &kAttentionPrefillForm, &kMlaPrefillForm}) {
    const auto values = values_of(*form, {{"start", 1e-6}, {"per_1024_keys", 1e-7}});
    double last = 0;
    for (double context = 1; context < 1e6; context *= 1.5) {
      const double now = time_of(*form, attention_of(4, context, 32, 8), values).time;
      EXPECT_GE(now, last) << form->name << " " << context;
      last = now;
    }
  }
}

TEST(CopyForm, LinkNotDevice) {
  Operator op;
  op.activation_bytes = Bytes(50'000'000);
  const auto values = values_of(kCopyForm, {{"start", 1e-5}, {"link_bandwidth", 50e9}});
  EXPECT_NEAR(time_of(kCopyForm, op, values).time, 1.01e-3, 1e-12);
  EXPECT_NEAR(time_of(kCopyForm, op, values, {.flops = 1, .bytes = 1, .sms = 1}).time, 1.01e-3,
              1e-12);
}

TEST(SmoothRooflineForm, ByHand) {
  Operator op;
  op.flops = Flops(3e9);
  op.activation_bytes = Bytes(40'000'000);
  const auto values = values_of(
      kSmoothRooflineForm,
      {{"start", 1e-6}, {"compute_share", 0.5}, {"memory_share", 0.5}, {"smoothness", 2}});
  EXPECT_NEAR(time_of(kSmoothRooflineForm, op, values).time, 1e-6 + std::hypot(60e-6, 80e-6),
              1e-14);
}

}  // namespace
}  // namespace sim
