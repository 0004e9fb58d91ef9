// `simulate run --timeline`: what a viewer needs to open it, and that it says what happened.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/app/database.h"
#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

using nlohmann::json;

// Picoseconds of a time in microseconds with six decimals.
std::int64_t picoseconds(const json& us) { return std::llround(us.get<double>() * 1e6); }

class TimelineOfARun : public Refusal {
 protected:
  json timeline(std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"run", "good.yaml", "--timeline", "t.json"};
    words.insert(words.end(), more.begin(), more.end());
    const CommandResult result = simulate(folder_, words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    said_ = result.out;
    return json::parse(folder_.read("t.json"));
  }
  static std::vector<json> events(const json& timeline, const std::string& phase) {
    std::vector<json> result;
    for (const json& each : timeline["traceEvents"]) {
      if (each["ph"] == phase) result.push_back(each);
    }
    return result;
  }
  std::string said_;
};

TEST_F(TimelineOfARun, SlicesOfATrackFollowOneAnotherAndFillTheStepWithTheWaits) {
  const json trace = timeline({"--results", "t.db"});
  std::map<int, std::vector<json>> tracks;
  for (const json& slice : events(trace, "X")) tracks[slice["tid"]].push_back(slice);
  EXPECT_EQ(tracks.size(), 3u * 8);  // compute, communication, host
  for (const auto& [track, slices] : tracks) {
    for (std::size_t i = 1; i < slices.size(); ++i) {
      EXPECT_LE(picoseconds(slices[i - 1]["ts"]) + picoseconds(slices[i - 1]["dur"]),
                picoseconds(slices[i]["ts"]))
          << "track " << track;
    }
  }
  // Each device's kernels are those of its row in the database.
  const Database database(folder_.file("t.db"));
  std::int64_t drawn = 0;
  for (const json& slice : events(trace, "X")) {
    if (slice["cat"] == "kernel") drawn += picoseconds(slice["dur"]);
  }
  EXPECT_EQ(std::to_string(drawn),
            database.one("SELECT sum(attention_ps + expert_ps + dense_ps + communication_ps + "
                         "other_ps) FROM devices"));
  EXPECT_EQ(std::to_string(drawn),
            database.one("SELECT sum(duration_ps) FROM spans WHERE stream = 'compute'"));
  EXPECT_EQ(std::to_string(events(trace, "X").size()), database.one("SELECT count(*) FROM spans"));
  EXPECT_EQ(database.one("SELECT count(*) FROM spans WHERE start_ps + duration_ps > (SELECT "
                         "start_ps + duration_ps FROM steps WHERE steps.step = spans.step)"),
            "0");
}

TEST_F(TimelineOfARun, AnArrowHoldsOnToASliceAtBothEnds) {
  const json trace = timeline();
  std::map<int, std::vector<json>> tracks;
  for (const json& slice : events(trace, "X")) tracks[slice["tid"]].push_back(slice);
  const auto slice_at = [&](const json& end) -> json {
    for (const json& slice : tracks[end["tid"]]) {
      if (slice["ts"] <= end["ts"] &&
          picoseconds(end["ts"]) < picoseconds(slice["ts"]) + picoseconds(slice["dur"]))
        return slice;
    }
    return {};
  };
  const std::vector<json> begins = events(trace, "s"), ends = events(trace, "f");
  ASSERT_GT(begins.size(), 0u);
  ASSERT_EQ(begins.size(), ends.size());
  for (std::size_t i = 0; i < begins.size(); ++i) {
    EXPECT_EQ(begins[i]["id"], ends[i]["id"]);
    EXPECT_LT(begins[i]["ts"], ends[i]["ts"]);
    const json from = slice_at(begins[i]), to = slice_at(ends[i]);
    ASSERT_FALSE(from.is_null() || to.is_null()) << begins[i] << ends[i];
    EXPECT_EQ(from["name"], to["name"]);
    EXPECT_EQ(from["args"]["layer"], to["args"]["layer"]);
    EXPECT_EQ(to["args"]["waited_for_gpu"].get<int>() + 1, from["pid"].get<int>());
  }
}

TEST_F(TimelineOfARun, BytesOfADispatchAreThoseOfTheTrafficTable) {
  const json trace = timeline({"--results", "t.db"});
  std::map<int, std::int64_t> sent;
  for (const json& slice : events(trace, "X")) {
    if (slice["name"] == "dispatch")
      sent[slice["pid"].get<int>() - 1] += slice["args"]["sent_bytes"].get<std::int64_t>();
  }
  const Database database(folder_.file("t.db"));
  for (const auto& row :
       database.rows("SELECT source_device, sum(bytes) FROM traffic WHERE phase = "
                     "'dispatch' GROUP BY source_device"))
    EXPECT_EQ(std::to_string(sent[std::stoi(row[0])]), row[1]);
}

TEST_F(TimelineOfARun, FiltersKeepTheChosenAndNothingElse) {
  const json trace =
      timeline({"--timeline-ranks", "2,5-6", "--timeline-layers", "1", "--timeline-steps", "2"});
  const std::vector<json> slices = events(trace, "X");
  ASSERT_GT(slices.size(), 0u);
  for (const json& slice : slices) {
    EXPECT_THAT(slice["pid"].get<int>() - 1, ::testing::AnyOf(2, 5, 6));
    EXPECT_EQ(slice["args"]["layer"], 1);
    EXPECT_EQ(slice["args"]["step"], 2);
  }
}

TEST_F(TimelineOfARun, TheLimitBoundsTheFileAndWhatIsLeftOutIsSaid) {
  const std::size_t all = timeline()["otherData"]["events"].get<std::size_t>();
  const json trace = timeline({"--timeline-limit", "50"});
  EXPECT_EQ(trace["otherData"]["events"], 50);
  EXPECT_EQ(trace["otherData"]["left out by the limit"], all - 50);
  EXPECT_THAT(said_,
              ::testing::HasSubstr("timeline: " + std::to_string(all - 50) +
                                   " later events are left out; choose with --timeline-ranks"));
}

TEST_F(TimelineOfARun, ChangesNothingOfTheRunAndTheSameRunGivesTheSameBytes) {
  const CommandResult without = simulate(folder_, {"run", "good.yaml"});
  timeline();
  const std::string first = folder_.read("t.json");
  const auto fingerprint = [](const std::string& text) {
    return text.substr(text.find("fingerprint "), 28);
  };
  EXPECT_EQ(fingerprint(without.out), fingerprint(said_));
  timeline();
  EXPECT_EQ(first == folder_.read("t.json"), true);
}

TEST_F(TimelineOfARun, LinkCountersAreShares) {
  const json trace = timeline({"--set", "workload.tokens_per_gpu=512"});
  int seen = 0;
  for (const json& counter : events(trace, "C")) {
    ++seen;
    EXPECT_THAT(counter["name"].get<std::string>(), ::testing::HasSubstr("nvlink"));
    EXPECT_GE(counter["args"]["%"], 0);
    EXPECT_LE(counter["args"]["%"], 100);
  }
  EXPECT_GT(seen, 0);
}

TEST_F(TimelineOfARun, ABadChoiceIsRefusedBeforeTheRun) {
  const std::vector<std::string> run = {"run", "good.yaml", "--timeline", "t.json"};
  const auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), run.begin(), run.end());
    return refused(more);
  };
  EXPECT_EQ(with({"--timeline-ranks", "0-8"}),
            "--timeline-ranks: there is no number 8 in this run; the last one is 7\n");
  EXPECT_EQ(with({"--timeline-layers", "x"}),
            "--timeline-layers: 'x' is no number and no range; write numbers and ranges between "
            "commas: 0-7,64\n");
  EXPECT_EQ(with({"--timeline-steps", "3"}),
            "--timeline-steps: there is no number 3 in this run; the last one is 2\n");
  EXPECT_EQ(with({"--results", "t.json"}),
            "--timeline and --results name one file, 't.json'; give the timeline a name of its "
            "own\n");
  EXPECT_EQ(refused({"run", "good.yaml", "--timeline", "no/where.json"}),
            "no/where.json: cannot be written: No such file or directory\n");
}

}  // namespace
}  // namespace sim::testing
