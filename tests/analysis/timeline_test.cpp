// The JSON of a timeline, event by event.
#include "analysis/timeline.h"

#include <gtest/gtest.h>

#include <limits>
#include <sstream>

#include "sim/core/error.h"

namespace sim::testing {
namespace {

Time at_ps(std::int64_t ps) { return Time(Duration(ps)); }

TEST(Timeline, EveryKindOfEventAsTheViewerReadsIt) {
  std::ostringstream out;
  TimelineWriter writer(out, 100);
  writer.name_process(1, "gpu 0");
  writer.name_track(1, 1, "compute");
  const TimelineArgument arguments[] = {
      {"layer", std::int64_t{3}}, {"share", 0.25}, {"label", std::string_view("fitted")}};
  EXPECT_TRUE(writer.slice(1, 1, "experts", "kernel", at_ps(2'500'000), Duration(1), arguments));
  writer.arrow({1, 1, at_ps(10)}, {2, 7, at_ps(3'000'000)}, "dispatch");
  writer.counter(3, "nic", "%", at_ps(1'000'000'000'000), 12.5);
  const TimelineArgument notes[] = {{"made by", std::string_view("a test")}};
  writer.finish(notes);
  EXPECT_EQ(out.str(),
            R"({"displayTimeUnit":"ns","traceEvents":[
{"ph":"M","pid":1,"name":"process_name","args":{"name":"gpu 0"}},
{"ph":"M","pid":1,"name":"process_sort_index","args":{"sort_index":1}},
{"ph":"M","pid":1,"tid":1,"name":"thread_name","args":{"name":"compute"}},
{"ph":"X","pid":1,"tid":1,"ts":2.5,"dur":0.000001,"name":"experts","cat":"kernel","args":{"layer":3,"share":0.25,"label":"fitted"}},
{"ph":"s","pid":1,"tid":1,"ts":0.00001,"id":1,"name":"dispatch","cat":"transfer"},
{"ph":"f","pid":2,"tid":7,"ts":3,"id":1,"name":"dispatch","cat":"transfer","bp":"e"},
{"ph":"C","pid":3,"ts":1000000,"name":"nic","args":{"%":12.5}}
],"otherData":{"events":4,"made by":"a test"}}
)");
}

TEST(Timeline, TextIsEscapedAndWhatIsNotUtf8IsReplaced) {
  std::ostringstream out;
  TimelineWriter writer(out, 0);
  writer.name_process(1, "a\"b\\c\nd\x01 é \xff\xed\xa0\x80 \xf0\x9f\x98\x80 \xc3");
  EXPECT_NE(
      out.str().find(R"({"name":"a\"b\\c\u000ad\u0001 é \ufffd\ufffd\ufffd\ufffd 😀 \ufffd"})"),
      std::string::npos)
      << out.str();
}

TEST(Timeline, WhatTheLimitLeavesOutIsCountedAndAnArrowKeepsBothItsEnds) {
  std::ostringstream out;
  TimelineWriter writer(out, 2);
  EXPECT_TRUE(writer.slice(1, 1, "first", "kernel", at_ps(0), Duration(5), {}));
  writer.arrow({1, 1, at_ps(1)}, {1, 2, at_ps(2)}, "halves");
  writer.counter(1, "second", "%", at_ps(3), 1);
  EXPECT_FALSE(writer.slice(1, 1, "third", "kernel", at_ps(5), Duration(5), {}));
  writer.finish({});
  EXPECT_EQ(writer.events(), 2);
  EXPECT_EQ(writer.left_out(), 3);
  EXPECT_EQ(out.str().find("halves"), std::string::npos);
  EXPECT_EQ(out.str().find("third"), std::string::npos);
  EXPECT_NE(out.str().find(R"("left out by the limit":3)"), std::string::npos);
}

TEST(Timeline, ANumberThatJsonCannotHoldIsOurMistake) {
  std::ostringstream out;
  TimelineWriter writer(out, 2);
  EXPECT_THROW(writer.counter(1, "c", "%", at_ps(0), std::numeric_limits<double>::infinity()),
               InternalError);
}

}  // namespace
}  // namespace sim::testing
