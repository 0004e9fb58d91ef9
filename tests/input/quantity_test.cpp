#include "sim/input/quantity.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

namespace sim {
namespace {

template <class T>
using Parser = std::optional<T> (*)(std::string_view, std::string&);

template <class T>
T parsed(Parser<T> parse, std::string_view text) {
  std::string mistake;
  const std::optional<T> value = parse(text, mistake);
  EXPECT_TRUE(value.has_value()) << text << ": " << mistake;
  EXPECT_EQ(mistake, "") << text;
  return value.value_or(T{});
}

template <class T>
std::string refused(Parser<T> parse, std::string_view text) {
  std::string mistake;
  EXPECT_FALSE(parse(text, mistake).has_value()) << text;
  return mistake;
}

TEST(Quantity, EveryUnitOfTime) {
  const std::vector<std::pair<const char*, std::int64_t>> cases = {{"3 ps", 3},
                                                                   {"3 ns", 3'000},
                                                                   {"3 us", 3'000'000},
                                                                   {"3 ms", 3'000'000'000},
                                                                   {"3 s", 3'000'000'000'000},
                                                                   {"3 min", 180'000'000'000'000},
                                                                   {"3 h", 10'800'000'000'000'000}};
  for (const auto& [text, ps] : cases) EXPECT_EQ(parsed(parse_duration, text), Duration(ps));
}

TEST(Quantity, TimesMayBeFractionsAndKeepWholeTicks) {
  EXPECT_EQ(parsed(parse_duration, "0.1 us"), Duration(100'000));
  EXPECT_EQ(parsed(parse_duration, "1.5e-3ms"), Duration(1'500'000));
  EXPECT_EQ(parsed(parse_duration, "  2us\t"), Duration(2'000'000));
  EXPECT_EQ(parsed(parse_duration, "0 s"), Duration(0));
  EXPECT_EQ(parsed(parse_duration, "1_000 ns"), Duration(1'000'000));
}

TEST(Quantity, EveryUnitOfSize) {
  const std::vector<std::pair<const char*, std::int64_t>> cases = {{"3 B", 3},
                                                                   {"3 KB", 3'000},
                                                                   {"3 kB", 3'000},
                                                                   {"3 MB", 3'000'000},
                                                                   {"3 GB", 3'000'000'000},
                                                                   {"3 TB", 3'000'000'000'000},
                                                                   {"3 PB", 3'000'000'000'000'000},
                                                                   {"3 KiB", 3LL << 10},
                                                                   {"3 MiB", 3LL << 20},
                                                                   {"3 GiB", 3LL << 30},
                                                                   {"3 TiB", 3LL << 40}};
  for (const auto& [text, bytes] : cases) EXPECT_EQ(parsed(parse_bytes, text), Bytes(bytes));
  EXPECT_EQ(parsed(parse_bytes, "2e3 B"), Bytes(2000));
  EXPECT_EQ(parsed(parse_bytes, "0.5 KiB"), Bytes(512));
}

TEST(Quantity, EveryUnitOfBandwidthAndALowerCaseBIsABit) {
  const std::vector<std::pair<const char*, double>> cases = {{"8 B/s", 8},
                                                             {"8 KB/s", 8e3},
                                                             {"8 MB/s", 8e6},
                                                             {"8 GB/s", 8e9},
                                                             {"8 TB/s", 8e12},
                                                             {"8 MiB/s", 8.0 * 1024 * 1024},
                                                             {"8 GiB/s", 8.0 * 1024 * 1024 * 1024},
                                                             {"8 Mb/s", 1e6},
                                                             {"8 Gb/s", 1e9},
                                                             {"8 Tb/s", 1e12}};
  for (const auto& [text, rate] : cases) {
    EXPECT_DOUBLE_EQ(parsed(parse_bandwidth, text).count(), rate) << text;
  }
  EXPECT_DOUBLE_EQ(parsed(parse_bandwidth, "400 Gb/s").count(), 50e9);
}

TEST(Quantity, EveryUnitOfCompute) {
  for (const char* text : {"989 TFLOP/s", "989 TFLOPS", "989000 GFLOP/s", "989000 GFLOPS",
                           "0.989 PFLOP/s", "0.989 PFLOPS"}) {
    EXPECT_DOUBLE_EQ(parsed(parse_flop_rate, text).count(), 989e12) << text;
  }
}

TEST(Quantity, ABareNumberIsRefused) {
  EXPECT_EQ(refused(parse_duration, "5"), "'5' has no unit; add a unit, like '2 us' or '10 ms'");
  EXPECT_EQ(refused(parse_bytes, "1e9"), "'1e9' has no unit; add a unit, like '80 GiB' or '16 MB'");
  EXPECT_EQ(refused(parse_bandwidth, "400"),
            "'400' has no unit; add a unit, like '400 Gb/s' or '50 GB/s'");
  EXPECT_EQ(refused(parse_flop_rate, "989"), "'989' has no unit; add a unit, like '989 TFLOP/s'");
}

TEST(Quantity, AWrongUnitListsTheRightOnes) {
  EXPECT_EQ(refused(parse_duration, "5 sec"),
            "'sec' is not a unit of a duration; the units are ps, ns, us, ms, s, min, h");
  EXPECT_EQ(refused(parse_bytes, "5 Gb"),
            "'Gb' is not a unit of a size in bytes; the units are B, KB, kB, MB, GB, TB, PB, KiB, "
            "MiB, GiB, TiB");
  EXPECT_EQ(refused(parse_bandwidth, "50 GB"),
            "'GB' is not a unit of a bandwidth; the units are B/s, KB/s, MB/s, GB/s, TB/s, MiB/s, "
            "GiB/s, Mb/s, Gb/s, Tb/s");
  EXPECT_EQ(refused(parse_flop_rate, "5 TFLOP"),
            "'TFLOP' is not a unit of a compute rate; the units are GFLOP/s, TFLOP/s, PFLOP/s, "
            "GFLOPS, TFLOPS, PFLOPS");
}

TEST(Quantity, WhatIsNoNumberSaysHowToWriteIt) {
  EXPECT_EQ(refused(parse_duration, "fast"),
            "'fast' is not a duration; write it like '2 us' or '10 ms'");
  EXPECT_EQ(refused(parse_duration, ""), "'' is not a duration; write it like '2 us' or '10 ms'");
  EXPECT_EQ(refused(parse_bytes, "1.2.3 GB"),
            "'1.2.3 GB' is not a size in bytes; write it like '80 GiB' or '16 MB'");
  EXPECT_EQ(refused(parse_bytes, "nan GB"),
            "'nan GB' is not a size in bytes; write it like '80 GiB' or '16 MB'");
  EXPECT_EQ(refused(parse_bandwidth, "1e999 GB/s"),
            "'1e999 GB/s' is not a bandwidth; write it like '400 Gb/s' or '50 GB/s'");
}

TEST(Quantity, OverflowAndNegativeValuesAreRefused) {
  EXPECT_EQ(refused(parse_duration, "-5 us"), "'-5 us' must be finite and not negative");
  EXPECT_EQ(refused(parse_duration, "2401 h"),  // 100 days are 2400 h
            "'2401 h' is longer than 100 days, which the clock cannot hold");
  EXPECT_EQ(parsed(parse_duration, "2400 h"), Duration(8'640'000'000'000'000'000));
  EXPECT_EQ(refused(parse_bytes, "9001 PB"), "'9001 PB' is more bytes than 64 bits hold");
  EXPECT_EQ(refused(parse_bandwidth, "1e300 TB/s"), "'1e300 TB/s' must be finite and not negative");
}

TEST(Quantity, PlainNumbersAndCounts) {
  EXPECT_EQ(parse_number("1_000.5"), 1000.5);
  EXPECT_EQ(parse_number("+3"), 3);
  EXPECT_EQ(parse_number("3 GB"), std::nullopt);
  EXPECT_EQ(parse_number("inf"), std::nullopt);
  EXPECT_EQ(parse_count("1e6"), 1'000'000);
  EXPECT_EQ(parse_count("1_024"), 1024);
  EXPECT_EQ(parse_count("-3"), -3);
  EXPECT_EQ(parse_count("1.5"), std::nullopt);
  EXPECT_EQ(parse_count("1e16"), std::nullopt);
  EXPECT_EQ(parse_count(""), std::nullopt);
}

}  // namespace
}  // namespace sim
