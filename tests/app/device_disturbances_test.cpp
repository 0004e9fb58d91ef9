// Entries of `disturbances:` about devices, as a user meets them: each injected cause is found in
// the causes and waits of the results.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/app/database.h"
#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

using ::testing::HasSubstr;

class DeviceDisturbancesRun : public Refusal {
 protected:
  CommandResult command(const std::string& disturbances, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"run", "good.yaml"});
    if (!disturbances.empty()) more.insert(more.end(), {"--set", "disturbances=" + disturbances});
    CommandResult result = simulate(folder_, more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result;
  }
  nlohmann::json run(const std::string& disturbances, std::vector<std::string> more = {}) {
    more.emplace_back("--json");
    return nlohmann::json::parse(command(disturbances, std::move(more)).out);
  }
  static double metric(const nlohmann::json& summary, const char* name) {
    return summary["metrics"][name];
  }
  static double cause_s(const nlohmann::json& summary, const char* name) {
    return summary["causes_ps"].value(name, 0.0) * 1e-12;
  }
};

TEST_F(DeviceDisturbancesRun, ASlowDeviceIsFoundInTheCausesAndTheWaits) {
  for (const std::string fidelity : {"flows", "ports"}) {
    const std::vector<std::string> set = {"--set", "network.fidelity=" + fidelity};
    const nlohmann::json calm = run("", set);
    EXPECT_FALSE(calm["metrics"].contains("slow_device_time_s"));
    EXPECT_EQ(run("[{device: 3, slowdown: 2, from: 10 s}]", set)["fingerprint"],
              calm["fingerprint"]);
    std::vector<std::string> store = set;
    store.insert(store.end(), {"--results", fidelity + ".db"});
    const nlohmann::json slow = run("[{device: 3, slowdown: 2}]", store);
    const double more = 3 * (metric(slow, "step_time_s") - metric(calm, "step_time_s"));
    EXPECT_GT(more, 10e-6);
    EXPECT_GT(cause_s(slow, "slow_device"), 0.8 * more);
    EXPECT_GT(metric(slow, "slow_device_time_s"), 0.0);
    const Database db(folder_.file(fidelity + ".db"));
    // Gpu 3 is waited for most, and waits least itself.
    EXPECT_EQ(db.rows("SELECT waited_for_device FROM waits WHERE cause = 'wait_peer' GROUP BY 1 "
                      "ORDER BY sum(duration_ps) DESC LIMIT 1"),
              (std::vector<std::vector<std::string>>{{"3"}}));
    EXPECT_EQ(db.rows("SELECT device FROM devices GROUP BY 1 ORDER BY sum(wait_peer_ps) LIMIT 1"),
              (std::vector<std::vector<std::string>>{{"3"}}));
    // Its kernels take twice as long: of what they took, half was added, an eighth of it per rank.
    EXPECT_EQ(db.rows("SELECT round(sum(attention_ps + expert_ps + dense_ps + other_ps) / 2e12 / 8 "
                      "/ 3 / (SELECT value FROM metrics WHERE name = 'slow_device_time_s'), 3) "
                      "FROM devices WHERE device = 3"),
              (std::vector<std::vector<std::string>>{{"1.0"}}));
  }
}

TEST_F(DeviceDisturbancesRun, EveryKindOfWorkloadCanBeSlow) {
  for (const std::string workload : {"{kind: prefill, tokens_per_gpu: 256, prompt_tokens: 128}",
                                     "{kind: layer, tokens_per_gpu: 64, context: 100}"}) {
    const std::vector<std::string> set = {"--set", "workload=" + workload};
    const nlohmann::json calm = run("", set);
    const nlohmann::json slow = run("[{device: node0, slowdown: 1.5}]", set);
    EXPECT_GT(cause_s(slow, "slow_device"), 0.0) << workload;
    EXPECT_GT(metric(slow, "step_time_s"), metric(calm, "step_time_s")) << workload;
  }
}

TEST_F(DeviceDisturbancesRun, ADriftMakesStepAfterStepSlower) {
  const std::vector<std::string> more = {"--results", "r.db",
                                         "--set",     "workload.steps=6",
                                         "--set",     "routing={synthetic: {uniform: true}}"};
  run("[{device: 2, drift: {per_second: 400, most: 50}}]", more);
  const Database db(folder_.file("r.db"));
  const auto steps =
      db.rows("SELECT duration_ps FROM causes WHERE cause = 'slow_device' ORDER BY step");
  ASSERT_EQ(steps.size(), 6u);
  for (std::size_t i = 1; i < steps.size(); ++i)
    EXPECT_GT(std::stoll(steps[i][0]), std::stoll(steps[i - 1][0]));
}

TEST_F(DeviceDisturbancesRun, JitterIsItsOwnCauseAndFollowsTheSeed) {
  const std::string jitter =
      "[{device: all, jitter: {distribution: lognormal, sigma: 0.2, kernels: [experts]}}]";
  const nlohmann::json one = run(jitter);
  EXPECT_NE(cause_s(one, "jitter"), 0.0);
  EXPECT_EQ(cause_s(one, "slow_device"), 0.0);
  EXPECT_EQ(run(jitter)["fingerprint"], one["fingerprint"]);
  EXPECT_NE(run(jitter, {"--seed", "8"})["fingerprint"], one["fingerprint"]);
  EXPECT_GT(cause_s(run("[{device: 1, jitter: {distribution: exponential, mean: 3}}]"), "jitter"),
            0.0);
  EXPECT_GT(
      cause_s(run("[{device: 1, jitter: {distribution: uniform, least: 2, most: 3}}]"), "jitter"),
      0.0);
}

TEST_F(DeviceDisturbancesRun, ANicIsItsTwoLinks) {
  const std::vector<std::string> set = {"--set", "cluster.nodes=2"};
  const nlohmann::json calm = run("", set);
  const nlohmann::json by_device = run("[{device: 5, nic: {capacity: 0.02}}]", set);
  const nlohmann::json by_link = run("[{link: 'node0/gpu5/nic-*', capacity: 0.02}]", set);
  EXPECT_EQ(by_device["fingerprint"], by_link["fingerprint"]);
  EXPECT_GT(metric(by_device, "step_time_s"), metric(calm, "step_time_s"));
  EXPECT_EQ(run("[{device: 5, nic: failed, from: 50 us, until: 300 us}]", set)["fingerprint"],
            run("[{link: 'node0/gpu5/nic-*', capacity: 0, from: 50 us, until: 300 us}]",
                set)["fingerprint"]);
}

// The second step cannot end: the run is given up a time-out after the first other rank waited.
TEST_F(DeviceDisturbancesRun, ARankThatStopsFailsTheRunAfterTheTimeout) {
  const nlohmann::json calm = run("", {"--results", "calm.db"});
  const Database before(folder_.file("calm.db"));
  const std::int64_t first_end =
      std::stoll(before.rows("SELECT duration_ps FROM steps WHERE step = 0")[0][0]);
  const std::string stop_us = std::to_string(first_end / 1'000'000 + 5);
  const std::string stop = "[{device: 5, stops: " + stop_us + " us, timeout: 30 s}]";
  const nlohmann::json failed = run(stop, {"--results", "r.db"});
  EXPECT_EQ(failed["status"], "failed");
  const Database db(folder_.file("r.db"));
  using Rows = std::vector<std::vector<std::string>>;
  EXPECT_EQ(db.rows("SELECT status FROM runs"), (Rows{{"failed"}}));
  EXPECT_EQ(db.rows("SELECT count(*), sum(duration_ps) FROM steps"),
            (Rows{{"1", std::to_string(first_end)}}));
  EXPECT_EQ(metric(failed, "stopped_device"), 5);
  const double since = metric(failed, "waited_since_s");
  EXPECT_GT(since, static_cast<double>(first_end) * 1e-12);
  EXPECT_NEAR(metric(failed, "aborted_at_s"), since + 30, 1e-9);
  EXPECT_NEAR(metric(failed, "lost_waiting_gpu_s"), 240, 1e-6);
  EXPECT_NEAR(metric(failed, "lost_gpu_s"),
              240 + 8 * (since - static_cast<double>(first_end) * 1e-12), 1e-9);
  const std::string text = command(stop).out;
  EXPECT_THAT(text, HasSubstr("gpu 5 (1 GPU): stops at " + stop_us));
  EXPECT_THAT(text, HasSubstr("FAILED      gpu 5 stopped at " + stop_us));
  EXPECT_THAT(text, HasSubstr(" waited for it first, from "));
  EXPECT_THAT(text, HasSubstr(", in dispatch of layer 1\n"));
  EXPECT_THAT(text, HasSubstr("the time-out of 30.0 s struck at 30.0 s in step 1; 1 step ended"));
  EXPECT_THAT(text, HasSubstr("lost        240"));
  // Later than the run's end it changes nothing.
  const nlohmann::json late = run("[{device: 5, stops: 20 s}]");
  EXPECT_EQ(late["fingerprint"], calm["fingerprint"]);
  EXPECT_FALSE(late.contains("status"));
}

TEST_F(DeviceDisturbancesRun, WithoutAnyStepTheFailureIsAllThatIsTold) {
  const std::string text = command("[{device: 0, stops: 0 s, timeout: 1 s}]").out;
  EXPECT_THAT(text, HasSubstr("FAILED      gpu 0 stopped at 0.00 ns; gpu 1 waited"));
  EXPECT_THAT(text, HasSubstr("in step 0; 0 steps ended before\n"));
  EXPECT_THAT(text, ::testing::Not(HasSubstr("step time")));
  const nlohmann::json training =
      run("[{device: 6, stops: 1 us, timeout: 1 s}]",
          {"--set", "workload={kind: training, sequence_length: 64, micro_batches: 2, steps: 2}",
           "--set", "routing={synthetic: {uniform: true}}"});
  EXPECT_EQ(training["status"], "failed");
  EXPECT_EQ(metric(training, "stopped_device"), 6);
  EXPECT_GT(metric(training, "lost_gpu_s"), 8.0);
}

TEST_F(DeviceDisturbancesRun, MistakesAreNamedAllAtOnce) {
  const std::string scenario = std::string(kTinyScenario) + R"(disturbances:
  - {device: 17, slowdown: 1.3}
  - {device: 1.5, slowdown: 1.3}
  - {device: nodeX, slowdown: 1.3}
  - {device: [1, 1], slowdown: 1.3}
  - {device: 1, slowdown: 0.5}
  - {device: 1, slowdown: 2, from: 2 ms, until: 1 ms}
  - {device: 1}
  - {device: 1, slowdown: 2, stops: 1 ms}
  - {device: 1, link: "*", slowdown: 2}
  - {device: 1, drift: {per_second: -1, most: 2}}
  - {device: 1, jitter: {distribution: lognormal, sigma: 0.1, kernels: [expert]}}
  - {device: 1, jitter: {distribution: uniform, least: 3, most: 2}}
  - {device: 1, nic: broken}
  - {device: 1, stops: 1 ms, timeout: 3}
  - {device: 1, slowdown: 2, timeout: 3 s}
)";
  EXPECT_EQ(
      refused_scenario(scenario),
      "scenario.yaml:7:14: there is no gpu 17: the cluster has gpu 0 to 7\n"
      "scenario.yaml:8:14: there is no gpu 1.5: the cluster has gpu 0 to 7\n"
      "scenario.yaml:9:14: 'device' is no GPU and no node: 'nodeX'; a number, a list of numbers, "
      "all, or a node's name; did you mean 'node0'?\n"
      "scenario.yaml:10:14: gpu 1 stands twice in 'device'\n"
      "scenario.yaml:11:27: 'slowdown' in a disturbance is 0.5, but must be between 1 and 1000\n"
      "scenario.yaml:12:49: 'until' must be later than 'from'\n"
      "scenario.yaml:13:14: a disturbance says what happens to its devices; one of slowdown, "
      "drift, jitter, nic, stops\n"
      "scenario.yaml:14:14: a disturbance is one thing: 'slowdown' or 'stops'; one of slowdown, "
      "drift, jitter, nic, stops\n"
      "scenario.yaml:15:23: a disturbance is of links or of devices, not of both\n"
      "scenario.yaml:16:37: 'per_second' in drift is -1, but must be between 1e-09 and 1000000\n"
      "scenario.yaml:17:72: there are no kernels called 'expert'; did you mean 'experts'?\n"
      "scenario.yaml:18:65: 'most' of jitter must not be below 'least'\n"
      "scenario.yaml:19:22: 'nic' is 'failed' or a capacity, not 'broken'; like nic: {capacity: "
      "0.25}\n"
      "scenario.yaml:20:39: 'timeout' in a disturbance: '3' has no unit; add a unit, like '2 us' "
      "or '10 ms'\n"
      "scenario.yaml:21:30: unknown key 'timeout' in a disturbance; possible: device, drift, from, "
      "jitter, link, nic, slowdown, stops, until\n");
}

}  // namespace
}  // namespace sim::testing
