// The page of fitted synthesis says what the command says.
#include "sim/app/like_report.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "sim/app/catalog.h"

namespace sim {
namespace {

TEST(LikeReport, PageHoldsTheSectionOfTheCommittedSample) {
  const Catalog catalog;
  std::ifstream file(catalog.root() + "/traces/synthetic/like/accuracy.md");
  const std::string page(std::istreambuf_iterator<char>(file), {});
  const std::string trace = catalog.trace_file("traces/samples/zipf-24x32-top4.moetrace", "");
  EXPECT_NE(page.find(like_report_text(like_report(trace, {}))), std::string::npos)
      << "traces/synthetic/like/accuracy.sh makes the page anew";
}

// 5 % or the difference of the halves, whichever is larger: halves 100 and 110 differ by 10 %.
TEST(LikeReport, AFigurePassesWithinTheHalvesDifference) {
  EXPECT_TRUE((LikeFigure{"", 100, 110, 109.9}.passes()));
  EXPECT_TRUE((LikeFigure{"", 100, 110, 90.1}.passes()));
  EXPECT_FALSE((LikeFigure{"", 100, 110, 110.1}.passes()));
  EXPECT_TRUE((LikeFigure{"", 100, 101, 104.9}.passes()));
  EXPECT_FALSE((LikeFigure{"", 100, 101, 105.1}.passes()));
}

}  // namespace
}  // namespace sim
