// `simulate explain`: it names what was injected, its causes add up, and each removal is the run
// that it says it is.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/app/database.h"
#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

class Explain : public Refusal {
 protected:
  json explained(const std::vector<std::string>& set, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"explain", "good.yaml", "--json"});
    return json::parse(ok(more, set));
  }
  double step_time(const std::vector<std::string>& set) {
    return json::parse(ok({"run", "good.yaml", "--json"}, set))["metrics"]["step_time_s"];
  }
  std::string ok(std::vector<std::string> words, const std::vector<std::string>& set) {
    for (const std::string& each : set) words.insert(words.end(), {"--set", each});
    const CommandResult result = simulate(folder_, words);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  }
  static json removed(const json& all, const std::string& name) {
    for (const json& each : all["counterfactuals"]) {
      if (each["name"] == name) return each;
    }
    ADD_FAILURE() << "no counterfactual " << name;
    return {};
  }
  static double share(const json& all, const std::string& cause) {
    for (const json& each : all["causes"]) {
      if (each["cause"] == cause) return each["share"];
    }
    return 0;
  }
  static std::string first_device(const json& all, const std::string& cause) {
    for (const json& each : all["causes"]) {
      if (each["cause"] == cause) return each["devices"][0]["name"];
    }
    return "none";
  }
  // Enough tokens that kernels and bytes outweigh start-ups.
  const std::string kMany = "workload.tokens_per_gpu=2048";
};

TEST_F(Explain, CausesAddUpToTheStepsAndToTheirPlaces) {
  const json all = explained({});
  std::int64_t sum = 0;
  for (const json& cause : all["causes"]) {
    sum += cause["duration_ps"].get<std::int64_t>();
    double devices = 0;
    for (const json& place : cause["devices"]) devices += place["time_s"].get<double>();
    EXPECT_NEAR(devices, cause["duration_ps"].get<double>() * 1e-12, 1e-15) << cause["cause"];
  }
  EXPECT_EQ(sum, all["time_ps"].get<std::int64_t>());
  EXPECT_EQ(all["steps"], 3);
  EXPECT_NEAR(all["step_time_s"].get<double>(), step_time({}), 1e-11);
}

TEST_F(Explain, OneStepIsThatStepAlone) {
  const json step = explained({}, {"--step", "1"});
  EXPECT_EQ(step["step"], 1);
  EXPECT_EQ(step["steps"], 1);
  EXPECT_EQ(step["counterfactuals"].size(), 5u);
  ok({"run", "good.yaml", "--results", "steps.db"}, {});
  EXPECT_EQ(std::to_string(step["time_ps"].get<std::int64_t>()),
            Database(folder_.file("steps.db")).one("SELECT duration_ps FROM steps WHERE step = 1"));
  EXPECT_EQ(refused({"explain", "good.yaml", "--step", "3"}),
            "--step: there is no step 3 in this run; its steps are 0 to 2\n");
}

TEST_F(Explain, AHotRankIsNamedWithItsBusiestExpert) {
  const json all = json::parse(
      ok({"explain", "first-light", "--json"},
         {"workload.steps=1", "workload.tokens_per_gpu=256", "workload.context=256",
          "placement={policy: contiguous}", "routing={workload: hot-rank, intensity: 4}"}));
  EXPECT_GT(share(all, "token_straggler"), 0.05);
  const std::string hot = first_device(all, "token_straggler");
  EXPECT_THAT(all["verdict"].get<std::string>(), HasSubstr("waits mostly for stragglers"));
  EXPECT_THAT(all["verdict"].get<std::string>(), HasSubstr("mostly for " + hot + ": expert "));
  const json busiest = all["busy_experts"][0];
  EXPECT_EQ("gpu " + std::to_string(busiest["device"].get<int>()), hot);
  EXPECT_EQ(busiest["expert"].get<int>() / 2, busiest["device"].get<int>());  // two per rank
  EXPECT_GT(busiest["rows"].get<double>(), 2 * busiest["mean_rows"].get<double>());
  EXPECT_GT(removed(all, "perfect balance")["saves_share"].get<double>(), 0.05);
}

TEST_F(Explain, ALinkOfLessCapacityIsNamed) {
  const std::string slow = "disturbances=[{link: \"node0/gpu3/nvlink-up\", capacity: 0.02}]";
  const json all = explained({kMany, slow});
  EXPECT_THAT(all["verdict"].get<std::string>(),
              HasSubstr("mostly for node0/gpu3/nvlink-up, which has 0.02x the capacity of links "
                        "like it."));
  EXPECT_EQ(all["bounding_links"][0]["name"], "node0/gpu3/nvlink-up");
  EXPECT_NEAR(all["bounding_links"][0]["capacity_over_links_like_it"], 0.02, 1e-9);
  // Without it the step is that of the scenario without it; so it is on the infinite network.
  EXPECT_NEAR(removed(all, "no disturbance")["step_time_s"], step_time({kMany}), 1e-11);
  EXPECT_LT(removed(all, "infinite network")["step_time_s"], step_time({kMany}));
}

TEST_F(Explain, WithoutADisturbanceThereIsNoneToRemove) {
  const json row = removed(explained({}), "no disturbance");
  EXPECT_EQ(row["not_run"], "there is none");
  EXPECT_EQ(row.contains("step_time_s"), false);
  EXPECT_THAT(ok({"explain", "good.yaml"}, {}), HasSubstr("not run: there is none"));
}

TEST_F(Explain, BalanceOfABalancedRoutingSavesNothing) {
  const json all = explained({"routing={workload: balanced}", "workload.tokens_per_gpu=64"});
  EXPECT_EQ(removed(all, "perfect balance")["saves_s"], 0);
}

TEST_F(Explain, WhatTakesNoTimeIsNotOnThePath) {
  const json all = explained({kMany});
  const double step = all["step_time_s"];
  for (const char* name : {"infinite network", "zero start-up and launch", "perfect overlap"}) {
    EXPECT_LT(removed(all, name)["step_time_s"].get<double>(), step) << name;
    EXPECT_GT(removed(all, name)["step_time_s"].get<double>(), 0) << name;
  }
  // Removing start-ups saves at least what the path says of them; kernels' own come on top.
  EXPECT_GE(removed(all, "zero start-up and launch")["saves_share"].get<double>(),
            share(all, "launch"));
}

TEST_F(Explain, FitsAScreenAndSaysThatSavingsNeedNotAddUp) {
  const std::string text = ok({"explain", "good.yaml"}, {kMany});
  EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 45);
  EXPECT_THAT(text, HasSubstr("it adds up to the step exactly"));
  EXPECT_THAT(text, HasSubstr("the causes above add up; savings need not"));
}

}  // namespace
}  // namespace sim::testing
