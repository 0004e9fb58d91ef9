// "0-7,64" as a choice of numbers.
#include "sim/input/number_ranges.h"

#include <gtest/gtest.h>

#include "sim/core/error.h"

namespace sim::testing {
namespace {

std::string message(const std::string& text) {
  try {
    NumberRanges(text, "--ranks", 71);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(NumberRanges, NumbersAndRangesBothEndsIncluded) {
  const NumberRanges ranges("0-7,64", "--ranks", 71);
  for (const std::int64_t inside : {0, 3, 7, 64}) EXPECT_TRUE(ranges.contains(inside));
  for (const std::int64_t outside : {-1, 8, 63, 65}) EXPECT_FALSE(ranges.contains(outside));
  EXPECT_FALSE(ranges.every());
  EXPECT_TRUE(NumberRanges().every());
  EXPECT_TRUE(NumberRanges().contains(1'000'000));
}

TEST(NumberRanges, WhatIsNoChoiceIsRefusedWithTheReason) {
  const std::string hint = "; write numbers and ranges between commas: 0-7,64";
  EXPECT_EQ(message("71,0-71"), "accepted");
  EXPECT_EQ(message(""), "--ranks: '' is no number and no range" + hint);
  EXPECT_EQ(message("1,,2"), "--ranks: '' is no number and no range" + hint);
  EXPECT_EQ(message("1-"), "--ranks: '1-' is no number and no range" + hint);
  EXPECT_EQ(message("-1"), "--ranks: '-1' is no number and no range" + hint);
  EXPECT_EQ(message("1-2-3"), "--ranks: '1-2-3' is no number and no range" + hint);
  EXPECT_EQ(message(" 1"), "--ranks: ' 1' is no number and no range" + hint);
  EXPECT_EQ(message("99999999999999999999"),
            "--ranks: '99999999999999999999' is no number and no range" + hint);
  EXPECT_EQ(message("7-3"), "--ranks: the range '7-3' ends before it begins; write 3-7");
  EXPECT_EQ(message("0-72"), "--ranks: there is no number 72 in this run; the last one is 71");
}

}  // namespace
}  // namespace sim::testing
