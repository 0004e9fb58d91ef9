// The page of fitted synthesis says what the command says.
#include "sim/app/like_report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>

#include "sim/app/catalog.h"

namespace sim {
namespace {

class LikeReportPage : public ::testing::TestWithParam<const char*> {};

TEST_P(LikeReportPage, HoldsTheSectionOfTheCommittedTrace) {
  const Catalog catalog;
  std::ifstream file(catalog.root() + "/traces/synthetic/like/accuracy.md");
  const std::string page(std::istreambuf_iterator<char>(file), {});
  const std::string trace =
      catalog.trace_file(std::string("traces/samples/") + GetParam() + ".moetrace", "");
  EXPECT_NE(page.find(like_report_text(like_report(trace, {}))), std::string::npos)
      << "traces/synthetic/like/accuracy.sh makes the page anew";
}

INSTANTIATE_TEST_SUITE_P(Traces, LikeReportPage,
                         ::testing::Values("zipf-24x32-top4",
                                           "training/small-k2-switch0.01-s1.reading",
                                           "training/large-k2-switch0.01-s1.reading",
                                           "training/large-k2-switch0.01-s1.steps"));

TEST(LikeReport, RowsOfChanceAloneAreNoBehaviour) {
  const auto row = [](const char* metric, const char* parameter) {
    MetricRow result;
    result.metric = metric;
    result.parameter = parameter;
    return result;
  };
  EXPECT_FALSE(is_behaviour(row("drift_by_chance", "positions")));
  EXPECT_FALSE(is_behaviour(row("pair_distance", "by chance")));
  EXPECT_FALSE(is_behaviour(row("shared_experts", "independent")));
  EXPECT_TRUE(is_behaviour(row("shared_experts", "lag=1")));
  EXPECT_TRUE(is_behaviour(row("variance_over_sampling", "requests")));
}

// 5 % or the difference of the halves, whichever is larger: halves 100 and 110 differ by 10 %.
TEST(LikeReport, AFigurePassesWithinTheHalvesDifference) {
  EXPECT_TRUE((LikeFigure{"", 100, 110, 109.9}.passes()));
  EXPECT_TRUE((LikeFigure{"", 100, 110, 90.1}.passes()));
  EXPECT_FALSE((LikeFigure{"", 100, 110, 110.1}.passes()));
  EXPECT_TRUE((LikeFigure{"", 100, 101, 104.9}.passes()));
  EXPECT_FALSE((LikeFigure{"", 100, 101, 105.1}.passes()));
}

// Experts unused in the fitted half alone: none may be as far off as that half is, no farther.
TEST(LikeReport, NearNothingAndNotFiniteFiguresMiss) {
  EXPECT_TRUE((LikeFigure{"", 0, 2, 2}.passes()));
  EXPECT_FALSE((LikeFigure{"", 0, 2, 2.1}.passes()));
  EXPECT_FALSE((LikeFigure{"", 0, 0, 0.1}.passes()));
  EXPECT_FALSE((LikeFigure{"", 1, 1, std::numeric_limits<double>::infinity()}.passes()));
  EXPECT_FALSE((LikeFigure{"", 1, std::nan(""), 1}.passes()));
}

}  // namespace
}  // namespace sim
