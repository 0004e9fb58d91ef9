#include <gtest/gtest.h>

#include <cmath>

#include "models/microbench/reference/expert_ffn.h"
#include "models/microbench/reference/ffn_samples.h"
#include "models/microbench/reference/grouped_gemm.h"
#include "models/microbench/reference/matrix.h"
#include "models/microbench/reference/moe_layer.h"
#include "models/microbench/reference/row_kernels.h"
#include "tests/microbench/numbers.h"

namespace sim::reference {
namespace {

using testing::dot;
using testing::expect_gradient;
using testing::random_numbers;

std::vector<float> floats(const std::vector<double>& values) {
  return {values.begin(), values.end()};
}

// Three experts, one of them without rows.
struct Ffn {
  std::vector<std::int64_t> offsets = row_offsets(std::vector<std::int64_t>{2, 0, 3}, 1);
  FfnShape shape{offsets, 4, 3};
  std::vector<double> x = random_numbers(5 * 4, "x");
  std::vector<double> gate_up = random_numbers(3 * 6 * 4, "gate_up");
  std::vector<double> down = random_numbers(3 * 4 * 3, "down");
  std::vector<double> dy = random_numbers(5 * 4, "dy");
  std::vector<double> before = std::vector<double>(5 * 6, std::nan(""));
  std::vector<double> after = std::vector<double>(5 * 3, std::nan(""));
  std::vector<double> y = std::vector<double>(5 * 4, std::nan(""));

  double loss() {
    expert_ffn<double>(shape, x, {gate_up, down}, {before, after}, y);
    return dot(y, dy);
  }
};

TEST(ExpertFfn, ByHand) {
  // hidden 1, inter 1: y = silu(2 x) * (3 x) * 5 at x = 1: silu(2) = 1.7615941559557649.
  const std::vector<std::int64_t> offsets = {0, 1};
  const std::vector<double> x = {1}, gate_up = {2, 3}, down = {5};
  std::vector<double> before(2), after(1), y(1);
  expert_ffn<double>({offsets, 1, 1}, x, {gate_up, down}, {before, after}, y);
  EXPECT_NEAR(y[0], 1.7615941559557649 * 15, 1e-13);
}

TEST(ExpertFfn, GradientsAreSlopes) {
  Ffn f;
  f.loss();
  std::vector<double> dbefore(30), dafter(15), dx(20, std::nan(""));
  std::vector<double> dgate_up(72, std::nan("")), ddown(36, std::nan(""));
  expert_ffn_backward<double>(f.shape, f.x, {f.gate_up, f.down}, {f.before, f.after}, f.dy,
                              {dbefore, dafter}, {dx, dgate_up, ddown});
  const auto loss = [&] { return f.loss(); };
  expect_gradient(f.x, dx, loss, "dx");
  expect_gradient(f.gate_up, dgate_up, loss, "dgate_up");
  expect_gradient(f.down, ddown, loss, "ddown");
}

// What large cases are judged by agrees with the whole.
TEST(ExpertFfn, SamplesAreParts) {
  Ffn f;
  f.gate_up = random_numbers(72, "gate_up");
  for (auto* values : {&f.gate_up, &f.down, &f.dy}) {
    for (double& value : *values) value = static_cast<float>(value);
  }
  f.loss();
  for (auto* values : {&f.before, &f.after}) {
    for (double& value : *values) value = static_cast<float>(value);
  }
  std::vector<double> dbefore(30), dafter(15), dx(20), dgate_up(72), ddown(36);
  expert_ffn_backward<double>(f.shape, f.x, {f.gate_up, f.down}, {f.before, f.after}, f.dy,
                              {dbefore, dafter}, {dx, dgate_up, ddown});
  const auto gate_up = floats(f.gate_up), down = floats(f.down), dy = floats(f.dy);
  const auto before = floats(f.before), after = floats(f.after), x = floats(f.x);
  const OneExpert last{4, 3, std::span(gate_up).subspan(48), std::span(down).subspan(24)};
  std::vector<double> row(4), dgate(4), dup(4), of_down(4);
  ffn_of_row(last, std::span(f.x).subspan(12, 4), row);  // row 3 belongs to expert 2
  for (std::size_t h = 0; h < 4; ++h) EXPECT_NEAR(row[h], f.y[12 + h], 1e-12);
  ffn_slope_of_row(last, std::span(before).subspan(18, 6), std::span(dy).subspan(12, 4), row);
  for (std::size_t h = 0; h < 4; ++h) EXPECT_NEAR(row[h], dx[12 + h], 1e-12);
  for (std::int64_t i = 0; i < 3; ++i) {
    ffn_slopes_of_column(last, 3, std::span(x).subspan(8), std::span(before).subspan(12),
                         std::span(after).subspan(6), std::span(dy).subspan(8), i,
                         {dgate, dup, of_down});
    for (std::size_t h = 0; h < 4; ++h) {
      const auto at = static_cast<std::size_t>(i);
      EXPECT_NEAR(dgate[h], dgate_up[48 + at * 4 + h], 1e-5);
      EXPECT_NEAR(dup[h], dgate_up[48 + (3 + at) * 4 + h], 1e-5);
      EXPECT_NEAR(of_down[h], ddown[24 + h * 3 + at], 1e-5);
    }
  }
}

// Token by token: norm, logits, the two best experts, their FFNs weighted.
TEST(MoeLayer, IsTheSumOverATokensExperts) {
  const LayerShape s{6, 4, 3, 5, 2};
  const auto x = random_numbers(24, "x");
  const auto norm = random_numbers(4, "norm");
  const auto router = random_numbers(20, "router");
  const auto gate_up = floats(random_numbers(5 * 24, "gate_up"));
  const auto down = floats(random_numbers(5 * 12, "down"));
  const std::vector<double> gate_up_d(gate_up.begin(), gate_up.end());
  const std::vector<double> down_d(down.begin(), down.end());
  std::vector<double> normed(24), logits(30), weights(12), rows(48), before(72), after(36);
  std::vector<double> results(48), y(24, std::nan(""));
  std::vector<std::int32_t> choices(12);
  ExpertOrder order;
  moe_layer<double>(s, x, {norm, router, {gate_up_d, down_d}},
                    {normed, logits, weights, rows, {before, after}, results}, choices, order, y);
  EXPECT_EQ(order.offsets.back(), 12);
  for (std::size_t t = 0; t < 6; ++t) {
    std::vector<double> one(4), score(5), weight(2), part(4), sum(4, 0.0);
    std::vector<std::int32_t> chosen(2);
    rms_norm<double>(1, 4, std::span(x).subspan(t * 4, 4), norm, one);
    gemm<double>({1, 5, 4}, one, router, score);
    top_k<double>({1, 5, 2, Gate::kSoftmax}, score, chosen, weight);
    for (std::size_t i = 0; i < 2; ++i) {
      const auto e = static_cast<std::size_t>(chosen[i]);
      ffn_of_row(
          {4, 3, std::span(gate_up).subspan(e * 24, 24), std::span(down).subspan(e * 12, 12)}, one,
          part);
      for (std::size_t h = 0; h < 4; ++h) sum[h] += weight[i] * part[h];
    }
    for (std::size_t h = 0; h < 4; ++h) EXPECT_NEAR(y[t * 4 + h], sum[h], 1e-12);
  }
}

}  // namespace
}  // namespace sim::reference
