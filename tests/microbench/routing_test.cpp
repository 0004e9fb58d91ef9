#include "models/microbench/reference/routing.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "models/microbench/case_list.h"
#include "tests/microbench/numbers.h"

namespace sim::reference {
namespace {

using testing::dot;
using testing::expect_gradient;
using testing::random_numbers;

TEST(TopK, ByHand) {
  // Token 0: logits ln 1, ln 3, ln 2, ln 3: of the equal ones the lower expert comes first.
  const std::vector<double> logits = {0, std::log(3.0), std::log(2.0), std::log(3.0), 5, -5, 4, 0};
  std::vector<std::int32_t> choices(6, -1);
  std::vector<double> weights(6);
  top_k<double>({2, 4, 3, Gate::kSoftmax}, logits, choices, weights);
  EXPECT_EQ(choices, (std::vector<std::int32_t>{1, 3, 2, 0, 2, 3}));
  EXPECT_NEAR(weights[0], 3.0 / 8, 1e-15);
  EXPECT_NEAR(weights[1], 3.0 / 8, 1e-15);
  EXPECT_NEAR(weights[2], 2.0 / 8, 1e-15);
  // sigmoid(ln x) = x / (1 + x): 3/4, 3/4, 2/3, which add up to 13/6.
  top_k<double>({2, 4, 3, Gate::kSigmoid}, logits, choices, weights);
  EXPECT_EQ(choices, (std::vector<std::int32_t>{1, 3, 2, 0, 2, 3}));
  EXPECT_NEAR(weights[0], 9.0 / 26, 1e-15);
  EXPECT_NEAR(weights[2], 8.0 / 26, 1e-15);
}

TEST(TopK, AllExpertsAndLargeLogits) {
  const std::vector<float> logits = {1000, -1000, 999};
  std::vector<std::int32_t> choices(3);
  std::vector<float> weights(3);
  top_k<float>({1, 3, 3, Gate::kSoftmax}, logits, choices, weights);
  EXPECT_EQ(choices, (std::vector<std::int32_t>{0, 2, 1}));
  EXPECT_NEAR(weights[0] + weights[1] + weights[2], 1, 1e-6);
  EXPECT_NEAR(weights[0] / weights[1], std::exp(1.0), 1e-5);
}

TEST(TopK, GradientsAreSlopes) {
  for (const Gate gate : {Gate::kSoftmax, Gate::kSigmoid}) {
    const TopKShape s{3, 6, 2, gate};
    auto logits = random_numbers(18, "logits");
    const auto dweights = random_numbers(6, "dweights");
    std::vector<std::int32_t> choices(6);
    std::vector<double> weights(6);
    const auto loss = [&] {
      top_k<double>(s, logits, choices, weights);
      return dot(weights, dweights);
    };
    loss();
    std::vector<double> dlogits(18, std::nan(""));
    top_k_backward<double>(s, logits, choices, weights, dweights, dlogits);
    expect_gradient(logits, dlogits, loss, gate == Gate::kSoftmax ? "softmax" : "sigmoid");
  }
}

TEST(ExpertOrder, ByHand) {
  const std::vector<std::int32_t> choices = {2, 0, 0, 2, 2, 1};  // 3 tokens, 2 slots
  ExpertOrder order;
  order_by_expert(choices, 4, order);
  EXPECT_EQ(order.offsets, (std::vector<std::int64_t>{0, 2, 3, 6, 6}));
  EXPECT_EQ(order.source, (std::vector<std::int32_t>{1, 2, 5, 0, 3, 4}));
  EXPECT_EQ(order.position, (std::vector<std::int32_t>{3, 0, 1, 4, 5, 2}));
}

struct Routed {
  PermuteShape shape{5, 3, 2};
  std::vector<std::int32_t> choices =
      choices_with_rows(std::vector<std::int64_t>{5, 0, 3, 2}, 5, 2, 1);
  ExpertOrder order;
  std::vector<double> x = random_numbers(15, "x");
  Routed() { order_by_expert(choices, 4, order); }
};

TEST(Permute, ThereAndBackWithWeightsThatAddUpToOneIsTheSame) {
  const Routed r;
  std::vector<double> rows(30, std::nan(""));
  permute<double>(r.shape, r.order, r.x, rows);
  std::vector<double> weights;
  for (int t = 0; t < 5; ++t) {
    weights.push_back(0.125 * t);
    weights.push_back(1 - 0.125 * t);
  }
  std::vector<double> y(15, std::nan(""));
  unpermute<double>(r.shape, r.order, rows, weights, y);
  for (std::size_t i = 0; i < 15; ++i) EXPECT_NEAR(y[i], r.x[i], 1e-15);
  std::vector<double> sum(15, std::nan(""));
  permute_backward<double>(r.shape, r.order, rows, sum);
  for (std::size_t i = 0; i < 15; ++i) EXPECT_NEAR(sum[i], 2 * r.x[i], 1e-15);
}

TEST(Permute, GradientsAreSlopes) {
  Routed r;
  const auto drows = random_numbers(30, "drows");
  std::vector<double> dx(15);
  permute_backward<double>(r.shape, r.order, drows, dx);
  expect_gradient(
      r.x, dx,
      [&] {
        std::vector<double> rows(30);
        permute<double>(r.shape, r.order, r.x, rows);
        return dot(rows, drows);
      },
      "dx");
}

TEST(Unpermute, GradientsAreSlopes) {
  const Routed r;
  auto rows = random_numbers(30, "rows");
  auto weights = random_numbers(10, "weights");
  const auto dy = random_numbers(15, "dy");
  const auto loss = [&] {
    std::vector<double> y(15);
    unpermute<double>(r.shape, r.order, rows, weights, y);
    return dot(y, dy);
  };
  std::vector<double> drows(30, std::nan("")), dweights(10, std::nan(""));
  unpermute_backward<double>(r.shape, r.order, rows, weights, dy, drows, dweights);
  expect_gradient(rows, drows, loss, "drows");
  expect_gradient(weights, dweights, loss, "dweights");
}

TEST(ChoicesWithRows, GiveTheRowsAndDistinctExperts) {
  for (const microbench::Skew skew : microbench::kSkews) {
    for (const std::int64_t tokens : {1, 2, 7, 64}) {
      const auto rows = microbench::rows_per_expert(skew, tokens, 3, 8);
      const auto choices = choices_with_rows(rows, tokens, 3, 5);
      std::vector<std::int64_t> counted(8, 0);
      for (std::int64_t t = 0; t < tokens; ++t) {
        const auto begin = choices.begin() + t * 3;
        EXPECT_EQ(std::set<std::int32_t>(begin, begin + 3).size(), 3u);
        for (int slot = 0; slot < 3; ++slot) ++counted[static_cast<std::size_t>(begin[slot])];
      }
      EXPECT_EQ(counted, rows);
    }
  }
}

TEST(RowsPerExpert, AreWhatTheirNamesSay) {
  using microbench::rows_per_expert;
  using microbench::Skew;
  const auto sorted = [](std::vector<std::int64_t> rows) {
    std::sort(rows.rbegin(), rows.rend());
    return rows;
  };
  EXPECT_EQ(sorted(rows_per_expert(Skew::kUniform, 6, 2, 4)),
            (std::vector<std::int64_t>{3, 3, 3, 3}));
  EXPECT_EQ(sorted(rows_per_expert(Skew::kUniform, 5, 2, 4)),
            (std::vector<std::int64_t>{3, 3, 2, 2}));
  EXPECT_EQ(sorted(rows_per_expert(Skew::kOneHot, 6, 2, 4)),
            (std::vector<std::int64_t>{6, 2, 2, 2}));
  EXPECT_EQ(sorted(rows_per_expert(Skew::kEmpty, 6, 2, 4)),
            (std::vector<std::int64_t>{6, 6, 0, 0}));
  EXPECT_EQ(sorted(rows_per_expert(Skew::kEmpty, 6, 3, 4)),
            sorted(rows_per_expert(Skew::kUniform, 6, 3, 4)));
  const auto zipf = sorted(rows_per_expert(Skew::kZipf, 1000, 1, 3));
  // Shares 1, 2^-0.8, 3^-0.8 of their sum 1.9896: 502.6, 288.7, 208.7.
  EXPECT_EQ(zipf, (std::vector<std::int64_t>{503, 289, 208}));
  EXPECT_EQ(rows_per_expert(Skew::kZipf, 16, 2, 8), rows_per_expert(Skew::kZipf, 16, 2, 8));
  EXPECT_EQ(rows_per_expert(Skew::kOneHot, 4, 4, 4), (std::vector<std::int64_t>{4, 4, 4, 4}));
}

}  // namespace
}  // namespace sim::reference
