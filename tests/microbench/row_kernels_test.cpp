#include "models/microbench/reference/row_kernels.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "models/microbench/reference/number_formats.h"
#include "tests/microbench/numbers.h"

namespace sim::reference {
namespace {

using testing::dot;
using testing::expect_gradient;
using testing::random_numbers;

TEST(Swiglu, ByHand) {
  // Two rows of gate [a b] and up [c d]: silu(0) = 0, silu(1) = 0.7310585786300049.
  const std::vector<double> in = {0, 1, 5, 2, 1, 0, 3, 4};
  std::vector<double> out(4);
  swiglu<double>(2, 2, in, out);
  EXPECT_EQ(out[0], 0);
  EXPECT_NEAR(out[1], 1.4621171572600098, 1e-15);
  EXPECT_NEAR(out[2], 2.1931757358900147, 1e-15);
  EXPECT_EQ(out[3], 0);
}

TEST(Swiglu, GradientsAreSlopes) {
  auto in = random_numbers(24, "in");
  const auto dout = random_numbers(12, "dout");
  std::vector<double> din(24);
  swiglu_backward<double>(3, 4, in, dout, din);
  expect_gradient(
      in, din,
      [&] {
        std::vector<double> out(12);
        swiglu<double>(3, 4, in, out);
        return dot(out, dout);
      },
      "din");
}

TEST(RmsNorm, ByHand) {
  const std::vector<double> x = {3, 4};  // mean of squares 12.5
  const std::vector<double> weight = {1, 2};
  std::vector<double> y(2);
  rms_norm<double>(1, 2, x, weight, y);
  EXPECT_NEAR(y[0], 3 / std::sqrt(12.5), 1e-6);
  EXPECT_NEAR(y[1], 8 / std::sqrt(12.5), 1e-6);
}

TEST(RmsNorm, GradientsAreSlopes) {
  auto x = random_numbers(12, "x");
  auto weight = random_numbers(4, "weight");
  const auto dy = random_numbers(12, "dy");
  const auto loss = [&] {
    std::vector<double> y(12);
    rms_norm<double>(3, 4, x, weight, y);
    return dot(y, dy);
  };
  std::vector<double> dx(12, std::nan("")), dweight(4, std::nan(""));
  rms_norm_backward<double>(3, 4, x, weight, dy, dx, dweight);
  expect_gradient(x, dx, loss, "dx");
  expect_gradient(weight, dweight, loss, "dweight");
}

TEST(NumberFormats, E4m3) {
  EXPECT_EQ(from_e4m3(0x38), 1.0f);
  EXPECT_EQ(from_e4m3(0x7e), 448.0f);
  EXPECT_EQ(from_e4m3(0x01), 0x1p-9f);
  EXPECT_EQ(from_e4m3(0x08), 0x1p-6f);
  EXPECT_TRUE(std::isnan(from_e4m3(0x7f)));
  EXPECT_EQ(to_e4m3(1000), 0x7e);
  EXPECT_EQ(to_e4m3(-std::numeric_limits<float>::infinity()), 0xfe);
  EXPECT_EQ(to_e4m3(std::nanf("")) & 0x7f, 0x7f);
  EXPECT_EQ(to_e4m3(1.0625f), 0x38);   // halfway between 1 and 1.125: the even one
  EXPECT_EQ(to_e4m3(1.1875f), 0x3a);   // halfway between 1.125 and 1.25: the even one
  EXPECT_EQ(to_e4m3(0x1p-10f), 0x00);  // halfway between 0 and the smallest: the even one
  EXPECT_EQ(to_e4m3(0x1.8p-9f), 0x02);
}

// Every value is met by itself, and what lies between two goes to the nearer.
TEST(NumberFormats, E4m3RoundsToTheNearest) {
  for (int bits = 0; bits < 0x7e; ++bits) {
    const auto code = static_cast<std::uint8_t>(bits);
    const float low = from_e4m3(code);
    const float high = from_e4m3(static_cast<std::uint8_t>(bits + 1));
    ASSERT_LT(low, high);
    EXPECT_EQ(to_e4m3(low), code);
    EXPECT_EQ(to_e4m3(-low), code | 0x80);
    EXPECT_EQ(to_e4m3(low + (high - low) * 0.49f), code);
    EXPECT_EQ(to_e4m3(low + (high - low) * 0.51f), bits + 1);
  }
}

TEST(NumberFormats, Bf16) {
  EXPECT_EQ(to_bf16(1.0f), 0x3f80);
  EXPECT_EQ(from_bf16(0x3f80), 1.0f);
  EXPECT_EQ(to_bf16(1.0f + 0x1p-8f), 0x3f80);  // halfway: even
  EXPECT_EQ(to_bf16(1.0f + 0x3p-8f), 0x3f82);  // halfway: even
  EXPECT_EQ(to_bf16(1.0f + 0x1.1p-8f), 0x3f81);
  EXPECT_TRUE(std::isnan(from_bf16(to_bf16(std::nanf("")))));
}

TEST(Quantise, ScalesByTheLargestOfEachBlock) {
  std::vector<float> x(2 * 130, 0.0f);
  x[3] = 2;
  x[5] = -1;
  x[128] = 448;  // the second block of row 0 has two values
  std::vector<std::uint8_t> values(x.size(), 0x55);
  std::vector<float> scales(4, -1);
  quantise(2, 130, x, values, scales);
  EXPECT_EQ(scales, (std::vector<float>{2.0f / 448, 1, 1, 1}));
  EXPECT_EQ(from_e4m3(values[3]), 448.0f);
  EXPECT_EQ(from_e4m3(values[5]), -224.0f);
  EXPECT_EQ(values[4], 0);
  EXPECT_EQ(from_e4m3(values[128]), 448.0f);
  EXPECT_EQ(values[130], 0);
}

}  // namespace
}  // namespace sim::reference
