#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

#include "analysis/fingerprint.h"
#include "analysis/metrics.h"
#include "analysis/summary.h"

namespace sim {
namespace {

TEST(Metrics, ByHand) {
  const std::vector<double> values{4, 1, 3, 2};
  EXPECT_DOUBLE_EQ(mean(values), 2.5);
  EXPECT_DOUBLE_EQ(max_over_mean(values), 1.6);
  EXPECT_DOUBLE_EQ(percentile(values, 0), 1);
  EXPECT_DOUBLE_EQ(percentile(values, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(percentile(values, 0.9), 3.7);  // numpy.percentile([1, 2, 3, 4], 90)
  EXPECT_DOUBLE_EQ(percentile(values, 1), 4);
  // Mean absolute difference of all pairs over twice the mean: (20 / 16) / 5.
  EXPECT_DOUBLE_EQ(gini(values), 0.25);
  EXPECT_DOUBLE_EQ(gini(std::vector<double>{0, 0, 0, 8}), 0.75);
}

TEST(Metrics, NothingAndZerosAreBalanced) {
  EXPECT_EQ(mean({}), 0);
  EXPECT_EQ(max_over_mean({}), 1);
  EXPECT_EQ(max_over_mean(std::vector<double>{0, 0}), 1);
  EXPECT_EQ(gini({}), 0);
  EXPECT_EQ(gini(std::vector<double>{0, 0}), 0);
  EXPECT_NEAR(gini(std::vector<double>{3, 3, 3}), 0, 1e-15);
}

Fingerprint of(std::initializer_list<std::int64_t> times) {
  Fingerprint fingerprint;
  std::uint64_t sequence = 0;
  for (const std::int64_t time : times) fingerprint.add(Time(Duration(time)), ++sequence, 1);
  return fingerprint;
}

TEST(Fingerprint, DependsOnEveryWordAndOnTheOrder) {
  EXPECT_EQ(of({1, 2, 3}).text(), of({1, 2, 3}).text());
  EXPECT_NE(of({1, 2, 3}).value(), of({2, 1, 3}).value());
  EXPECT_NE(of({1, 2, 3}).value(), of({1, 2}).value());
  Fingerprint kind;
  kind.add(Time(Duration(1)), 1, 2);
  EXPECT_NE(kind.value(), of({1}).value());
  EXPECT_EQ(Fingerprint().text(), "0000000000000000");
  std::set<std::uint64_t> seen;
  for (std::int64_t time = 0; time < 100'000; ++time) seen.insert(of({time, 7}).value());
  EXPECT_EQ(seen.size(), 100'000U);
}

// Pinned: stored fingerprints are compared with those of later builds. The words 0, 0, 0 fold to
// three steps of splitmix64's finaliser; the first, of state 0, is its published first output.
TEST(Fingerprint, IsPinned) {
  Fingerprint fingerprint;
  fingerprint.add(Time(Duration(0)), 0, 0);
  const auto mix = [](std::uint64_t z) {
    z += 0x9e3779b97f4a7c15ULL;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  };
  ASSERT_EQ(mix(0), 0xe220a8397b1dcdafULL);
  EXPECT_EQ(fingerprint.value(), mix(mix(0xe220a8397b1dcdafULL)));
  EXPECT_EQ(fingerprint.text().size(), 16U);
}

TEST(Summary, TableAlignsCutsAndTrims) {
  TextTable table;
  table.add_column("cause");
  table.add_column("time", Align::kRight);
  table.add_column("");
  table.add_row({"network", "1.5 us", "█"});
  table.add_row({"µs", "12 us", ""});
  EXPECT_EQ(table.text(),
            "cause      time\n"
            "network  1.5 us  █\n"
            "µs        12 us\n");
  EXPECT_EQ(table.text(3),
            "cause  time\n"
            "ne…     1.…  █\n"
            "µs      12…\n");
}

TEST(Summary, TableWithoutHeadings) {
  TextTable table;
  table.add_column("");
  table.add_column("", Align::kRight);
  table.add_row({"tab\there", "1"});
  EXPECT_EQ(table.text(), "tab here  1\n");
}

TEST(Summary, BarsAndPercents) {
  EXPECT_EQ(share_bar(0.5, 8), "████");
  EXPECT_EQ(share_bar(0.3125, 8), "██▌");
  EXPECT_EQ(share_bar(0, 8), "");
  EXPECT_EQ(share_bar(2, 3), "███");
  EXPECT_EQ(share_bar(std::nan(""), 3), "");
  EXPECT_EQ(percent(0.1234), "12.3 %");
  EXPECT_EQ(percent(0.0001), "<0.1 %");
  EXPECT_EQ(percent(0), "0.0 %");
  EXPECT_EQ(heading("Zeit µ"), "Zeit µ\n------\n");
}

}  // namespace
}  // namespace sim
