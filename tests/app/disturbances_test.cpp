// `disturbances:` of a scenario, as a user meets them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/app/database.h"
#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

using ::testing::HasSubstr;

class Disturbances : public Refusal {
 protected:
  std::string ok(const std::vector<std::string>& arguments) {
    const CommandResult result = simulate(folder_, arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  }
  nlohmann::json run(const std::string& disturbances, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"run", "good.yaml", "--json"});
    if (!disturbances.empty()) more.insert(more.end(), {"--set", "disturbances=" + disturbances});
    return nlohmann::json::parse(ok(more));
  }
  static double step_s(const nlohmann::json& summary) { return summary["metrics"]["step_time_s"]; }
};

TEST_F(Disturbances, OneWithoutEffectChangesNothing) {
  const std::string calm = run("")["fingerprint"];
  EXPECT_EQ(run("[{link: '*', capacity: 1}]")["fingerprint"], calm);
  EXPECT_EQ(run("[{link: '*', capacity: 0.5, from: 10 s}]")["fingerprint"], calm);
  EXPECT_EQ(run("[{link: '*', background: {cap: 1 GB/s}, from: 10 s}]")["fingerprint"], calm);
  EXPECT_NE(run("[{link: '*', capacity: 0.5}]")["fingerprint"], calm);
}

TEST_F(Disturbances, EveryKindOfWorkloadIsSlowerAndTheNetworkIsToBlame) {
  for (const std::string workload : {"{kind: decode, tokens_per_gpu: 64, context: 100, steps: 2}",
                                     "{kind: prefill, tokens_per_gpu: 256, prompt_tokens: 128}",
                                     "{kind: layer, tokens_per_gpu: 64, context: 100}"}) {
    const std::vector<std::string> set = {"--set", std::string("workload=") + workload};
    const nlohmann::json calm = run("", set);
    const auto blamed = [](const nlohmann::json& summary) {
      double ps = 0;
      for (const char* cause : {"network", "congestion"}) {
        if (summary["causes_ps"].contains(cause)) ps += summary["causes_ps"][cause].get<double>();
      }
      return ps * 1e-12;
    };
    for (const std::string what :
         {"[{link: 'node0/gpu3/nvlink-*', capacity: 0.05}]",
          "[{link: 'node0/gpu3/nvlink-*', background: {weight: 50}}]",
          "[{link: 'node0/gpu3/nvlink-*', jitter: {distribution: exponential, mean: 20 us}}]"}) {
      const nlohmann::json slow = run(what, set);
      const double more = step_s(slow) - step_s(calm);
      EXPECT_GT(more, 1e-6) << workload << what;
      const double steps = workload[7] == 'd' ? 2 : 1;
      EXPECT_NEAR(blamed(slow) - blamed(calm), more * steps, 0.02 * more * steps + 3e-6)
          << workload << what;
    }
  }
}

TEST_F(Disturbances, ARunIsTheSameAgainAndAnotherSeedDrawsOtherJitter) {
  const std::string jitter =
      "[{link: '*', jitter: {distribution: lognormal, median: 2 us, sigma: 1}}]";
  const nlohmann::json once = run(jitter);
  EXPECT_EQ(run(jitter)["fingerprint"], once["fingerprint"]);
  EXPECT_NE(run(jitter, {"--seed", "8"})["fingerprint"], once["fingerprint"]);
}

TEST_F(Disturbances, CheckAndRunNameThem) {
  const std::string set =
      "disturbances=[{link: 'node0/gpu3/nvlink-*', capacity: 0, from: 100 us, until: 200 us}, "
      "{link: node0/gpu1/nvlink-up, background: {weight: 2, cap: 20 GB/s, on: 1 ms, off: 3 ms}}]";
  const std::string wanted =
      "  disturbances   node0/gpu3/nvlink-* (2 links): capacity none from 100.0 us, whole from "
      "200 us\n"
      "                 node0/gpu1/nvlink-up (1 link): another tenant's load of at most 20.0 GB/s, "
      "weight 2, 1.00 ms on and 3.00 ms off all the time\n";
  EXPECT_THAT(ok({"check", "good.yaml", "--set", set}), HasSubstr(wanted));
  EXPECT_THAT(ok({"run", "good.yaml", "--set", set}), HasSubstr(wanted));
}

TEST_F(Disturbances, TheLinksTableHasTheCapacityThatWasThere) {
  run("[{link: node0/gpu3/nvlink-up, capacity: 0.25}]", {"--results", "out.db"});
  const Database db(folder_.file("out.db"));
  const std::string of = "SELECT avg(capacity_bytes_per_s) FROM links WHERE link = ";
  EXPECT_DOUBLE_EQ(db.number(of + "'node0/gpu3/nvlink-up'"), 112.5e9);
  EXPECT_DOUBLE_EQ(db.number(of + "'node0/gpu3/nvlink-down'"), 450e9);
  EXPECT_THAT(db.one("SELECT scenario FROM runs"), HasSubstr("capacity: 0.25"));
}

TEST_F(Disturbances, OneThatComesTooLateIsAWarning) {
  const CommandResult result =
      simulate(folder_, {"run", "good.yaml", "--set",
                         "disturbances=[{link: '*nvlink-up', capacity: 0.5, from: 2 s}]"});
  EXPECT_EQ(result.exit_code, 0);
  EXPECT_THAT(result.out, HasSubstr("warning: a disturbance had no effect, the run ended at"));
}

TEST_F(Disturbances, ADeadLinkIsNamed) {
  const std::string text = refused({"run", "good.yaml", "--set",
                                    "disturbances=[{link: 'node0/gpu3/nvlink-up', capacity: 0}, "
                                    "{link: '*', background: {on: 1 us, off: 1 us}}]"});
  EXPECT_THAT(text, ::testing::MatchesRegex(
                        "step 0 never ends: [0-9]+ tasks never end: [0-9]+ transfers have no "
                        "bandwidth; the first is dispatch of layer 1 on gpu [0-9]; nothing flows "
                        "over node0/gpu3/nvlink-up; give the disturbance of such a link an "
                        "'until', or 'reroute' and a second path\n"));
}

TEST_F(Disturbances, MistakesAreNamedAllAtOnce) {
  const std::string scenario = std::string(kTinyScenario) + R"(disturbances:
  - {link: node0/gpu3/nvlink, capacity: 0.5}
  - {link: "x*", capacity: 0.5}
  - {link: node0/gpu3/nvlink-up, capacity: 1.5}
  - {link: node0/gpu3/nvlink-up, capacity: fast}
  - {link: node0/gpu3/nvlink-up, capacity: 500 GB/s}
  - {link: node0/gpu3/nvlink-up, capacity: 0.5, from: 2 ms, until: 1 ms}
  - {link: node0/gpu3/nvlink-up, capacity: 0.5, background: {}}
  - {link: node0/gpu3/nvlink-up}
  - {link: node0/gpu3/nvlink-up, capacities: []}
  - {link: node0/gpu3/nvlink-up, capacities: [{at: 2 ms, capacity: 0}, {at: 1 ms, capacity: 1}]}
  - {link: node0/gpu3/nvlink-up, background: {on: 1 ms}}
  - {link: node0/gpu3/nvlink-up, background: {on: 1 ns, off: 1 ms}}
  - {link: node0/gpu3/nvlink-up, jitter: {distribution: gauss}}
  - {link: node0/gpu3/nvlink-up, jitter: {distribution: normal, mean: 2 s, deviation: 1 us}}
  - {device: 17, slowdown: 1.3}
)";
  EXPECT_EQ(
      refused_scenario(scenario),
      "scenario.yaml:7:12: no link matches 'node0/gpu3/nvlink'; did you mean "
      "'node0/gpu3/nvlink-up'?\n"
      "scenario.yaml:8:12: no link matches 'x*'; links are called like node0/gpu0/nvlink-up, "
      "node0/gpu0/nic-up, rail0/leaf0-spine; `simulate cluster show --json` lists them\n"
      "scenario.yaml:9:44: 'capacity' is a share of the link's own, from 0 to 1, not 1.5; or a "
      "rate with a unit, like 25 GB/s\n"
      "scenario.yaml:10:44: 'capacity' is neither a share from 0 to 1 nor a rate: 'fast'; like "
      "0.5 or 25 GB/s\n"
      "scenario.yaml:11:44: a disturbance makes no link faster: node0/gpu3/nvlink-up has 450 "
      "GB/s\n"
      "scenario.yaml:12:68: 'until' must be later than 'from'\n"
      "scenario.yaml:13:12: a disturbance is one thing: 'capacity' or 'background'; one of "
      "capacity, capacities, background, jitter\n"
      "scenario.yaml:14:12: a disturbance says what happens to its links; one of capacity, "
      "capacities, background, jitter\n"
      "scenario.yaml:15:46: 'capacities' has 0 entries; it needs 1 to 10000\n"
      "scenario.yaml:16:77: the times of 'capacities' must ascend\n"
      "scenario.yaml:17:51: 'on' and 'off' of background go together; like on: 1 ms, off: 3 ms\n"
      "scenario.yaml:18:51: phases of background are at least 1.00 us; a 'cap' stands for "
      "shorter ones\n"
      "scenario.yaml:19:57: 'gauss' is not a possible 'distribution' of jitter; possible: normal, "
      "lognormal, exponential, pareto, uniform\n"
      "scenario.yaml:20:57: jitter is at most 1 s\n"
      "scenario.yaml:21:14: there is no gpu 17: the cluster has gpu 0 to 7\n");
}

}  // namespace
}  // namespace sim::testing
