// What a run leaves behind: repeatable, complete, adding up, and moving the bytes the trace says.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <tuple>

#include "tests/app/database.h"
#include "tests/app/refusal.h"
#include "traces/trace_file.h"

namespace sim::testing {
namespace {

class Run : public Refusal {
 protected:
  // Runs good.yaml into `database`; returns the summary.
  std::string run(const std::string& database, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"run", "good.yaml", "--results", database});
    return ok(more);
  }
  std::string ok(const std::vector<std::string>& arguments) {
    const CommandResult result = simulate(folder_, arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  }
  std::string dump(const std::string& database, const std::string& run = "1") {
    return ok({"query", database, "dump", "--csv", "--run", run});
  }
  static std::string fingerprint(const std::string& summary) {
    const std::size_t at = summary.find("fingerprint ");
    return at == std::string::npos ? "none" : summary.substr(at + 12, 16);
  }
};

TEST_F(Run, SameScenarioAndSeedGiveTheSameDumpAndFingerprint) {
  const std::string first = run("first.db");
  const std::string second = run("second.db");
  const std::string other = run("other.db", {"--seed", "8"});
  EXPECT_EQ(fingerprint(first).size(), 16u);
  EXPECT_EQ(fingerprint(first), fingerprint(second));
  EXPECT_NE(fingerprint(first), fingerprint(other));
  EXPECT_EQ(first_difference(dump("first.db"), dump("second.db")), "");
  EXPECT_NE(first_difference(dump("first.db"), dump("other.db")), "");
  EXPECT_EQ(Database(folder_.file("first.db")).one("SELECT fingerprint FROM runs"),
            fingerprint(first));
}

TEST_F(Run, TheScenarioInTheDatabaseRunsAgainToTheSameDump) {
  run("first.db", {"--set", "workload.steps=2", "--seed", "11"});
  folder_.write("good.yaml", Database(folder_.file("first.db")).one("SELECT scenario FROM runs"));
  run("second.db");
  EXPECT_EQ(first_difference(dump("first.db"), dump("second.db")), "");
}

TEST_F(Run, SeveralRunsInOneDatabase) {
  run("all.db", {"--seed", "1"});
  run("all.db", {"--seed", "2"});
  run("all.db", {"--set", "workload.steps=5"});
  const Database all(folder_.file("all.db"));
  EXPECT_EQ(
      all.rows("SELECT run_id, seed, status, (SELECT count(*) FROM steps WHERE steps.run_id = "
               "runs.run_id) FROM runs ORDER BY run_id"),
      (std::vector<std::vector<std::string>>{
          {"1", "1", "finished", "3"}, {"2", "2", "finished", "3"}, {"3", "7", "finished", "5"}}));
  run("two.db", {"--seed", "2"});
  EXPECT_EQ(first_difference(dump("all.db", "2"), dump("two.db")), "");
  EXPECT_NE(first_difference(dump("all.db", "1"), dump("all.db", "2")), "");
}

TEST_F(Run, JsonOfEveryCommandParses) {
  const auto parsed = [&](std::vector<std::string> arguments) {
    arguments.push_back("--json");
    return nlohmann::json::parse(ok(arguments));
  };
  run("r.db");
  ok({"trace", "synth", "-o", "t.moetrace", "--steps", "2"});
  const nlohmann::json summary = parsed({"run", "good.yaml"});
  EXPECT_NEAR(  // SQLite prints 15 digits
      summary.at("metrics").at("step_time_s").get<double>(),
      Database(folder_.file("r.db")).number("SELECT value FROM metrics WHERE name='step_time_s'"),
      1e-17);
  EXPECT_EQ(parsed({"check", "good.yaml"}).at("parallel").at("ep"), 8);
  EXPECT_EQ(parsed({"query", "r.db", "SELECT count(*) AS n FROM steps"})[0].at("n"), 3);
  EXPECT_EQ(parsed({"query", "r.db", "dump"}).size(), 14u);
  for (const char* what : {"models", "clusters", "policies", "scenarios", "queries"})
    EXPECT_GT(parsed({"list", what}).size(), 2u) << what;
  EXPECT_EQ(parsed({"trace", "info", "t.moetrace"}).at("rows"), 2 * 8 * 64);
  EXPECT_EQ(parsed({"trace", "stats", "t.moetrace"}).size(), 24u);
  EXPECT_EQ(parsed({"cluster", "show", "hgx-h100"}).at("gpus"), 8);
  EXPECT_GT(parsed({"model", "show", "gpt-oss-20b"}).size(), 5u);
}

TEST_F(Run, EveryMetricIsThereAndFollowsFromTheSteps) {
  run("r.db");
  const Database db(folder_.file("r.db"));
  std::set<std::string> names;
  for (const auto& row : db.rows("SELECT name FROM metrics")) names.insert(row[0]);
  for (const char* name :
       {"step_time_s", "tokens_per_s", "tokens_per_s_per_gpu", "dispatch_time_s",
        "dispatch_network_time_s", "combine_time_s", "expert_time_s", "attention_time_s",
        "exposed_communication_fraction", "imbalance_max_over_mean",
        "expert_imbalance_max_over_mean", "dropped_token_fraction", "peak_memory_bytes"}) {
    EXPECT_EQ(names.count(name), 1u) << name;
  }
  const auto metric = [&](const std::string& name) {
    return db.number("SELECT value FROM metrics WHERE name = '" + name + "'");
  };
  // 3 steps of 8 GPUs x 8 sequences, one token each.
  const double seconds = db.number("SELECT sum(duration_ps) / 1e12 FROM steps");
  EXPECT_NEAR(metric("step_time_s"), seconds / 3, 1e-15);
  EXPECT_NEAR(metric("tokens_per_s"), 3 * 64 / seconds, 1e-6);
  EXPECT_NEAR(metric("tokens_per_s_per_gpu"), 3 * 8 / seconds, 1e-6);
  EXPECT_NEAR(metric("dispatch_time_s"), db.number("SELECT sum(dispatch_ps) / 3e12 FROM layers"),
              1e-15);
  EXPECT_NEAR(metric("expert_time_s"), db.number("SELECT sum(expert_ps) / 3e12 FROM layers"),
              1e-15);
  EXPECT_NEAR(metric("imbalance_max_over_mean"),
              db.number("SELECT avg(imbalance_max_over_mean) FROM layers"), 1e-12);
  EXPECT_EQ(metric("peak_memory_bytes"),
            db.number("SELECT max(b) FROM (SELECT sum(bytes) AS b FROM memory GROUP BY device)"));
  EXPECT_EQ(metric("dropped_token_fraction"), 0);
  EXPECT_LE(metric("bound_network_s"), metric("dispatch_time_s") + metric("combine_time_s"));
}

struct Sum {
  const char* name;
  std::vector<std::string> set;
};

class AddsUp : public Run, public ::testing::WithParamInterface<Sum> {};

// Per step the causes, and per step and device what its compute stream did, are the step exactly.
TEST_P(AddsUp, CausesAndDevices) {
  std::vector<std::string> arguments;
  for (const std::string& assignment : GetParam().set) {
    arguments.push_back("--set");
    arguments.push_back(assignment);
  }
  run("r.db", arguments);
  const Database db(folder_.file("r.db"));
  EXPECT_EQ(db.one("SELECT count(*) FROM steps"), "3");
  EXPECT_EQ(db.rows("SELECT step, duration_ps FROM steps ORDER BY step"),
            db.rows("SELECT step, sum(duration_ps) FROM causes GROUP BY step ORDER BY step"));
  EXPECT_EQ(db.one("SELECT min(duration_ps) > 0 FROM causes"), "1");
  EXPECT_EQ(db.one("SELECT count(*) FROM devices"), "24");
  EXPECT_EQ(
      db.rows("SELECT step, device, attention_ps + expert_ps + dense_ps + communication_ps + "
              "other_ps + wait_peer_ps + network_ps + launch_ps + pipeline_bubble_ps + idle_end_ps "
              "FROM devices ORDER BY step, device"),
      db.rows("SELECT step, device, duration_ps FROM devices JOIN steps USING (run_id, step) ORDER "
              "BY step, device"));
  // Steps follow each other without a gap.
  EXPECT_EQ(db.one("SELECT count(*) FROM steps a JOIN steps b ON b.step = a.step + 1 WHERE "
                   "b.start_ps <> a.start_ps + a.duration_ps"),
            "0");
}

INSTANTIATE_TEST_SUITE_P(
    App, AddsUp,
    ::testing::Values(
        Sum{"Decode", {}}, Sum{"EagerLaunch", {"host.launch=eager"}},
        Sum{"TensorParallel", {"parallel={tp: 4}"}}, Sum{"TwoExpertGroups", {"parallel={ep: 4}"}},
        Sum{"SharedExpertsBesideDispatch",
            {"schedule.overlap=shared-experts", "communication.dispatch=deepep-normal"}},
        Sum{"Nccl", {"communication.dispatch=nccl", "routing.synthetic.zipf=2"}},
        Sum{"Prefill",
            {"workload={kind: prefill, tokens_per_gpu: 300, prompt_tokens: 128, steps: 3}"}},
        Sum{"OneLayer", {"workload={kind: layer, parts: moe, tokens_per_gpu: 8, steps: 3}"}},
        Sum{"EmptyRanks",
            {"workload={kind: layer, parts: moe, tokens_per_gpu: 1, steps: 3}",
             "routing.synthetic.zipf=20"}}),
    [](const auto& each) { return std::string(each.param.name); });

// Dispatched and combined bytes per pair of GPUs and layer, against a count of our own: 16 experts
// on 8 ranks in blocks of two, so expert e lies on rank e / 2; the low-latency kernels send a copy
// per (token, expert). The run begins after the 4 steps that the placement's estimate looks at.
TEST_F(Run, TrafficIsWhatTheTraceSays) {
  ok({"trace", "synth", "-o", "t.moetrace", "--zipf", "0.8", "--layers", "2", "--experts", "16",
      "--top-k", "2", "--steps", "9", "--ranks", "8", "--tokens-per-rank", "13"});
  run("r.db", {"--set", "routing={trace: t.moetrace, rule: recorded}", "--set",
               "placement.estimate=4 steps before", "--set",
               "communication={dispatch: deepep-low-latency, precision: {dispatch: fp8, combine: "
               "bf16}}"});
  constexpr std::int64_t kDispatched = 512 + 512 / 128 * 4 + 16;  // fp8, scales, header
  constexpr std::int64_t kCombined = 2 * 512;                     // bf16
  using Key = std::tuple<int, int, int, std::string>;  // layer, source, destination, phase
  std::map<Key, std::int64_t> expected;
  TraceReader reader(folder_.file("t.moetrace"));
  TokenChunk chunk;
  std::int64_t rows = 0;
  while (reader.next(chunk)) {
    for (int row = 0; row < chunk.rows; ++row) {
      const std::size_t r = static_cast<std::size_t>(row);
      if (chunk.step[r] < 4 || chunk.step[r] > 6) continue;
      for (int layer = 0; layer < 2; ++layer) {
        const ChoiceColumn column = chunk.column(layer);
        for (int c = 0; c < column.count(row); ++c, ++rows) {
          const int here = chunk.source_rank[r];
          const int there = column.at(column.begin(row) + static_cast<std::size_t>(c)) / 2;
          // The model's layer 0 is dense: routed layers 0 and 1 are its layers 1 and 2.
          expected[{layer + 1, here, there, "dispatch"}] += kDispatched;
          expected[{layer + 1, there, here, "combine"}] += kCombined;
        }
      }
    }
  }
  ASSERT_EQ(rows, 3 * 8 * 13 * 2 * 2);
  std::map<Key, std::int64_t> simulated;
  const Database db(folder_.file("r.db"));
  for (const auto& row :
       db.rows("SELECT layer, source_device, destination_device, phase, bytes FROM traffic"))
    simulated[{std::stoi(row[0]), std::stoi(row[1]), std::stoi(row[2]), row[3]}] =
        std::stoll(row[4]);
  EXPECT_EQ(simulated, expected);
  EXPECT_EQ(db.one("SELECT sum(rows) FROM layers"), std::to_string(rows));
  EXPECT_EQ(db.one("SELECT sum(rows) FROM experts"), std::to_string(rows));
  // What crosses from one GPU to another leaves over the sender's NVLink port, and no NIC is used.
  EXPECT_EQ(db.one("SELECT sum(bytes) FROM traffic WHERE source_device <> destination_device"),
            db.one("SELECT sum(bytes) FROM links WHERE link LIKE '%/nvlink-up'"));
}

}  // namespace
}  // namespace sim::testing
