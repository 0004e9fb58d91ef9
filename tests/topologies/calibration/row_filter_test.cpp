#include "topologies/calibration/row_filter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace sim {
namespace {

using ::testing::ElementsAre;

MeasuredRow row(std::string operation, int ranks, std::int64_t bytes) {
  MeasuredRow result;
  result.operation = std::move(operation);
  result.ranks = ranks;
  result.bytes = Bytes(bytes);
  return result;
}

std::vector<bool> select(const std::string& text, std::span<const MeasuredRow> rows) {
  const auto document = YamlDocument::parse(text, "spec");
  Mistakes mistakes;
  const RowFilter filter(document->root(), mistakes);
  mistakes.throw_if_any();
  return filter.select(rows);
}

TEST(RowFilter, ARowMeetsAllConditions) {
  const std::vector<MeasuredRow> rows = {row("all-gather", 2, 1024), row("all-gather", 4, 1 << 20),
                                         row("all-reduce", 8, 1 << 20), row("all-gather", 8, 4096)};
  EXPECT_THAT(select("{operation: all-gather, ranks: [2, 8]}", rows),
              ElementsAre(true, false, false, true));
  EXPECT_THAT(select("{bytes: {least: 1 MiB}}", rows), ElementsAre(false, true, true, false));
  EXPECT_THAT(select("{size_order: even}", rows), ElementsAre(true, true, true, false));
  EXPECT_THAT(select("{size_order: odd, ranks: 8}", rows), ElementsAre(false, false, false, true));
}

TEST(RowFilter, WhatIsWrongIsSaidAtOnce) {
  try {
    select("{rank: 2, ranks: [two], size_order: odd}", {});
    FAIL();
  } catch (const Error& error) {
    ASSERT_EQ(error.mistakes().size(), 2U);
    EXPECT_EQ(to_text(error.mistakes()[0]),
              "spec:1:8: rows have no column 'rank'; did you mean 'ranks'?");
    EXPECT_EQ(to_text(error.mistakes()[1]),
              "spec:1:19: not a number for 'ranks'; a number, a list of numbers or {least: A, "
              "most: B}");
  }
}

TEST(CompactIds, AreRangesPerTableAndHoldTheirRows) {
  const std::vector<std::string> ids = {"a#1",  "a#2",  "a#3",  "b#7",     "a#9",
                                        "a#12", "a#15", "a#19", "c#1@ring"};
  const std::vector<std::string> compact = compact_ids(ids);
  EXPECT_THAT(compact, ElementsAre("a#1-3,9-15/3,19", "b#7", "c#1@ring"));
  for (const std::string& id : ids) EXPECT_TRUE(holds_id(compact, id)) << id;
  for (const char* id : {"a#4", "a#10", "a#18", "b#1", "c#1", "d#1", "a"}) {
    EXPECT_FALSE(holds_id(compact, id)) << id;
  }
  const std::vector<std::string> whole = {"a"};
  EXPECT_TRUE(holds_id(whole, "a#17"));
}

}  // namespace
}  // namespace sim
