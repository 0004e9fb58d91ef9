#include "models/microbench/reference/matrix.h"

#include <gtest/gtest.h>

#include <limits>

#include "models/microbench/reference/grouped_gemm.h"
#include "sim/core/error.h"
#include "tests/microbench/numbers.h"

namespace sim::reference {
namespace {

using testing::dot;
using testing::expect_gradient;
using testing::random_numbers;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

TEST(Gemm, ByHand) {
  // [1 2; 3 4; 5 6] times the transpose of [1 0; 2 1].
  const std::vector<double> a = {1, 2, 3, 4, 5, 6};
  const std::vector<double> b = {1, 0, 2, 1};
  std::vector<double> c(6, kNan);
  gemm<double>({3, 2, 2}, a, b, c);
  EXPECT_EQ(c, (std::vector<double>{1, 4, 3, 10, 5, 16}));
  const std::vector<float> af(a.begin(), a.end());
  const std::vector<float> bf(b.begin(), b.end());
  std::vector<float> cf(6, std::numeric_limits<float>::quiet_NaN());
  gemm<float>({3, 2, 2}, af, bf, cf);
  EXPECT_EQ(cf, (std::vector<float>{1, 4, 3, 10, 5, 16}));
  std::vector<double> da(6, kNan);
  gemm_dgrad<double>({3, 2, 2}, c, b, da);  // rows of c times b: 1*[1 0] + 4*[2 1] = [9 4]
  EXPECT_EQ(da, (std::vector<double>{9, 4, 23, 10, 37, 16}));
  std::vector<double> db(4, kNan);
  gemm_wgrad<double>({3, 2, 2}, c, a, db);  // columns of c times a: 1*1 + 3*3 + 5*5 = 35, ...
  EXPECT_EQ(db, (std::vector<double>{35, 44, 114, 144}));
}

// OpenBLAS against plain loops, every pass, sizes that are no multiple of anything.
TEST(Gemm, FloatAgreesWithDouble) {
  const GemmShape s{37, 29, 53};
  const auto a = random_numbers(37 * 53, "a");
  const auto b = random_numbers(29 * 53, "b");
  const auto c = random_numbers(37 * 29, "c");
  const std::vector<float> af(a.begin(), a.end());
  const std::vector<float> bf(b.begin(), b.end());
  const std::vector<float> cf(c.begin(), c.end());
  const auto compare = [](const std::vector<float>& got, const std::vector<double>& expected) {
    for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], expected[i], 2e-5);
  };
  std::vector<double> out(c.size());
  std::vector<float> got(c.size());
  gemm<double>(s, a, b, out);
  gemm<float>(s, af, bf, got);
  compare(got, out);
  out.assign(a.size(), 0);
  got.assign(a.size(), 0);
  gemm_dgrad<double>(s, c, b, out);
  gemm_dgrad<float>(s, cf, bf, got);
  compare(got, out);
  out.assign(b.size(), 0);
  got.assign(b.size(), 0);
  gemm_wgrad<double>(s, c, a, out);
  gemm_wgrad<float>(s, cf, af, got);
  compare(got, out);
}

TEST(Gemm, GradientsAreSlopes) {
  const GemmShape s{3, 4, 5};
  auto a = random_numbers(15, "a");
  auto b = random_numbers(20, "b");
  const auto dc = random_numbers(12, "dc");
  const auto loss = [&] {
    std::vector<double> c(12);
    gemm<double>(s, a, b, c);
    return dot(c, dc);
  };
  std::vector<double> da(15), db(20);
  gemm_dgrad<double>(s, dc, b, da);
  gemm_wgrad<double>(s, dc, a, db);
  expect_gradient(a, da, loss, "da");
  expect_gradient(b, db, loss, "db");
}

TEST(Gemm, AnArrayTooShortIsOurBug) {
  const std::vector<double> a(5), b(4);
  std::vector<double> c(6);
  EXPECT_THROW(gemm<double>({3, 2, 2}, a, b, c), InternalError);
}

TEST(RowOffsets, RoundUpToTiles) {
  const std::vector<std::int64_t> rows = {3, 0, 4, 5};
  EXPECT_EQ(row_offsets(rows, 1), (std::vector<std::int64_t>{0, 3, 3, 7, 12}));
  EXPECT_EQ(row_offsets(rows, 4), (std::vector<std::int64_t>{0, 4, 4, 8, 16}));
}

struct Grouped {
  std::vector<std::int64_t> rows = {3, 0, 5, 1};
  std::vector<std::int64_t> offsets = row_offsets(rows, 1);
  GroupedShape shape{offsets, 4, 6};
  std::vector<double> a = random_numbers(9 * 6, "a");
  std::vector<double> b = random_numbers(4 * 4 * 6, "b");
  std::vector<double> dc = random_numbers(9 * 4, "dc");
};

TEST(GroupedGemm, IsAGemmPerExpert) {
  const Grouped g;
  std::vector<double> c(9 * 4, kNan), da(9 * 6, kNan), db(4 * 24, kNan);
  grouped_gemm<double>(g.shape, g.a, g.b, c);
  grouped_gemm_dgrad<double>(g.shape, g.dc, g.b, da);
  grouped_gemm_wgrad<double>(g.shape, g.dc, g.a, db);
  for (std::size_t e = 0; e < 4; ++e) {
    const auto begin = static_cast<std::size_t>(g.offsets[e]);
    const auto count = static_cast<std::size_t>(g.rows[e]);
    const GemmShape one{g.rows[e], 4, 6};
    const std::span<const double> a = std::span(g.a).subspan(begin * 6, count * 6);
    const std::span<const double> b = std::span(g.b).subspan(e * 24, 24);
    const std::span<const double> dc = std::span(g.dc).subspan(begin * 4, count * 4);
    std::vector<double> expected(count * 4), expected_da(count * 6), expected_db(24);
    gemm<double>(one, a, b, expected);
    gemm_dgrad<double>(one, dc, b, expected_da);
    gemm_wgrad<double>(one, dc, a, expected_db);
    for (std::size_t i = 0; i < count * 4; ++i) EXPECT_EQ(c[begin * 4 + i], expected[i]);
    for (std::size_t i = 0; i < count * 6; ++i) EXPECT_EQ(da[begin * 6 + i], expected_da[i]);
    for (std::size_t i = 0; i < 24; ++i) EXPECT_EQ(db[e * 24 + i], expected_db[i]);  // 0 for none
  }
}

TEST(GroupedGemm, PaddedIsDroplessAndZerosBetween) {
  const Grouped g;
  const auto padded = row_offsets(g.rows, 4);
  const GroupedShape shape{padded, 4, 6};
  std::vector<double> wide_a(static_cast<std::size_t>(padded.back()) * 6, 0.0);
  for (std::size_t e = 0; e < 4; ++e) {
    std::copy_n(g.a.begin() + g.offsets[e] * 6, g.rows[e] * 6, wide_a.begin() + padded[e] * 6);
  }
  std::vector<double> wide(static_cast<std::size_t>(padded.back()) * 4, kNan);
  std::vector<double> c(9 * 4, kNan);
  grouped_gemm<double>(shape, wide_a, g.b, wide);
  grouped_gemm<double>(g.shape, g.a, g.b, c);
  for (std::size_t e = 0; e < 4; ++e) {
    for (std::int64_t i = 0; i < (padded[e + 1] - padded[e]) * 4; ++i) {
      const double expected =
          i < g.rows[e] * 4 ? c[static_cast<std::size_t>(g.offsets[e] * 4 + i)] : 0.0;
      EXPECT_EQ(wide[static_cast<std::size_t>(padded[e] * 4 + i)], expected);
    }
  }
}

}  // namespace
}  // namespace sim::reference
