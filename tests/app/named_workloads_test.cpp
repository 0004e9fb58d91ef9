// The eight named imbalance workloads as a user meets them: what each does to a run, what is
// refused, and the page that shows their price.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "sim/policies/placement/placement.h"
#include "tests/app/database.h"
#include "tests/app/refusal.h"
#include "traces/synthetic/workloads.h"

namespace sim::testing {
namespace {

using ::testing::HasSubstr;

class NamedWorkloads : public Refusal {
 protected:
  nlohmann::json run(const std::string& routing, std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"run", "good.yaml", "--json", "--set", "routing=" + routing});
    const CommandResult result = simulate(folder_, more);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return nlohmann::json::parse(result.out);
  }
  Database database(const std::string& routing, const std::string& name,
                    std::vector<std::string> more = {}) {
    more.insert(more.end(), {"--results", name});
    run(routing, more);
    return Database(folder_.file(name));
  }
};

using Rows = std::vector<std::vector<std::string>>;

// 16 experts on 8 ranks, top-2, 8 x 8 tokens: 128 rows, 8 per expert, 16 per rank.
TEST_F(NamedWorkloads, EachRunsAndShowsItsImbalance) {
  const auto figures = [&](const std::string& routing, int steps = 3) {
    const nlohmann::json metrics =
        run(routing, {"--set", "workload.steps=" + std::to_string(steps)})["metrics"];
    return std::pair<double, double>{metrics["expert_imbalance_max_over_mean"],
                                     metrics["imbalance_max_over_mean"]};
  };
  using Pair = std::pair<double, double>;
  EXPECT_EQ(figures("{workload: balanced}"), (Pair{1, 1}));
  EXPECT_EQ(figures("{workload: source-ragged}"), (Pair{1, 1}));
  EXPECT_EQ(figures("{workload: zero-load-rank}"), (Pair{2, 2}));
  EXPECT_EQ(figures("{workload: zero-load-rank, idle_ranks: 4}"), (Pair{2, 2}));
  // 4 hot experts: 48 hot tokens bring 24 rows to each, the 16 others 2 to every expert: 26 of 8.
  EXPECT_EQ(figures("{workload: hot-expert-set}").first, 3.25);
  EXPECT_EQ(figures("{workload: rotating-hotspot}"), (Pair{3.25, 3.25}));
  EXPECT_EQ(figures("{workload: rotating-hotspot, period: 1}"), (Pair{3.25, 3.25}));
  // Both experts of a rank as hot as those: 26 + 26 of 16 on it.
  const Pair hot = figures("{workload: hot-rank, rank: 5}");
  EXPECT_NEAR(hot.first, 3.25, 0.125);  // a row of 8
  EXPECT_NEAR(hot.second, 3.25, 0.125);
  // Their equals on two ranks, each with a cold expert beside it.
  const Pair spread = figures("{workload: spread-hot}");
  EXPECT_NEAR(spread.first, 3.25, 0.125);
  EXPECT_NEAR(spread.second, (3.25 + 9.5 / 14) / 2, 0.125);
  // Three steps of 1 and one of 0.5 * 4 + 0.5 = 2.5.
  EXPECT_NEAR(figures("{workload: burst}", 4).first, (3 + 2.5) / 4, 0.04);
  EXPECT_NEAR(figures("{workload: burst, calm_steps: 1, intensity: 3}", 4).first, 2, 0.07);
}

TEST_F(NamedWorkloads, TheHotRankIsTheStraggler) {
  const std::vector<std::string> large = {"--set", "workload.tokens_per_gpu=2048", "--set",
                                          "workload.context=10"};
  const Database db = database("{workload: hot-rank, rank: 5}", "hot.db", large);
  EXPECT_EQ(db.one("SELECT device FROM devices GROUP BY device ORDER BY sum(expert_ps) DESC "
                   "LIMIT 1"),
            "5");
  EXPECT_EQ(db.one("SELECT waited_for_device FROM waits WHERE waited_for_device IS NOT NULL "
                   "GROUP BY waited_for_device ORDER BY sum(duration_ps) DESC LIMIT 1"),
            "5");
  EXPECT_GT(db.number("SELECT sum(duration_ps) FROM causes WHERE cause = 'token_straggler'"), 0);
}

TEST_F(NamedWorkloads, RanksWithoutLoadGetNoRows) {
  const Database db = database("{workload: zero-load-rank, idle_ranks: 3}", "idle.db");
  EXPECT_EQ(db.rows("SELECT DISTINCT device FROM devices WHERE expert_ps = 0 ORDER BY device"),
            (Rows{{"0"}, {"1"}, {"2"}}));
  EXPECT_EQ(db.rows("SELECT DISTINCT destination_device FROM traffic WHERE phase = 'dispatch' AND "
                    "bytes > 0 ORDER BY 1"),
            (Rows{{"3"}, {"4"}, {"5"}, {"6"}, {"7"}}));
}

// 1.5 times 8 tokens on gpu 0, 4 on gpu 7; 64 in all. The caches differ, buffers are the largest.
TEST_F(NamedWorkloads, RaggedSourcesHoldUnequalCaches) {
  const Database ragged = database("{workload: source-ragged}", "ragged.db");
  const Database even = database("{workload: balanced}", "even.db");
  const auto bytes = [](const Database& db, const std::string& item, int device) {
    return db.number(fmt::format(
        "SELECT sum(bytes) FROM memory WHERE item LIKE '{}' AND device = {}", item, device));
  };
  EXPECT_EQ(ragged.rows("SELECT DISTINCT tokens FROM steps"), (Rows{{"64"}}));
  const double cache = bytes(even, "%cache%", 0);
  ASSERT_GT(cache, 0);
  EXPECT_NEAR(bytes(ragged, "%cache%", 0), 1.5 * cache, 1);
  EXPECT_NEAR(bytes(ragged, "%cache%", 7), 0.5 * cache, 1);
  EXPECT_EQ(bytes(ragged, "communication buffers", 7), bytes(ragged, "communication buffers", 0));
  // As counts the ranks bring the same numbers.
  const Database counted = database("{workload: source-ragged, token_budget: 0}", "counted.db");
  const std::string sent =
      "SELECT source_device, sum(bytes) FROM traffic WHERE phase = 'dispatch' GROUP BY 1";
  EXPECT_GT(std::stod(counted.rows(sent)[0][1]), 2.5 * std::stod(counted.rows(sent)[7][1]));
}

TEST_F(NamedWorkloads, TheHotspotMovesAndAnEstimateOfThePastIsStale) {
  const Database db = database("{workload: rotating-hotspot, period: 1}", "moving.db");
  const std::string hottest =
      "SELECT group_concat(expert) FROM (SELECT expert FROM experts WHERE step = {} AND layer = 1 "
      "AND rows > 8 ORDER BY expert)";
  // The run begins at step 64 of the routing: the 16 blocks of 4 have come 4 times to each place.
  EXPECT_EQ(db.one(fmt::format(fmt::runtime(hottest), 0)), "0,1,2,3");
  EXPECT_EQ(db.one(fmt::format(fmt::runtime(hottest), 1)), "4,5,6,7");
  EXPECT_EQ(db.one(fmt::format(fmt::runtime(hottest), 2)), "8,9,10,11");
  // EPLB on the last step's loads fits hot experts that stay, and is too late for those that move.
  const auto balanced = [&](const std::string& routing) {
    const nlohmann::json got =
        run(routing,
            {"--set", "placement={policy: eplb, redundant_experts: 8, estimate: 1 steps before}"});
    return got["metrics"]["imbalance_max_over_mean"].get<double>();
  };
  EXPECT_GT(balanced("{workload: rotating-hotspot, period: 1}"),
            1.2 * balanced("{workload: rotating-hotspot, period: 1000}"));
}

TEST_F(NamedWorkloads, BlocksAreThoseOfTheContiguousPlacement) {
  for (const auto& [experts, ranks] : {std::pair{16, 8}, {60, 8}, {256, 72}, {5, 8}}) {
    PlacementInput input;
    input.experts = experts;
    input.ranks = ranks;
    input.load.assign(static_cast<std::size_t>(experts), 1);
    RandomStream random(1, "test");
    const ExpertPlacement placed =
        place_experts(find_placement_policy("contiguous"), input, random);
    for (int rank = 0; rank < ranks; ++rank) {
      const ExpertBlock block = block_of_rank(experts, ranks, rank);
      for (int e = block.first; e < block.first + block.size; ++e) {
        ASSERT_EQ(placed.copies(e).size(), 1u);
        EXPECT_EQ(placed.copies(e)[0] / placed.slots_per_rank, rank) << experts << " " << e;
      }
    }
  }
}

TEST_F(NamedWorkloads, CheckShowsTheDefaults) {
  const CommandResult result =
      simulate(folder_, {"check", "good.yaml", "--set", "routing={workload: burst, period: 2}"});
  EXPECT_THAT(result.err, HasSubstr("period"));
  const std::string shown =
      simulate(folder_, {"check", "good.yaml", "--set", "routing={workload: burst}"}).out;
  for (const std::string key :
       {"routing.hot_experts +4 +default", "routing.calm_steps +3 +default",
        "routing.burst_steps +1 +default", "routing.intensity +2.5 +default"}) {
    EXPECT_THAT(shown, ::testing::ContainsRegex(key));
  }
}

TEST_F(NamedWorkloads, WhatCannotBeIsRefusedAtItsPlace) {
  std::string yaml = replaced(kTinyScenario, "{synthetic: {zipf: 0.8}}", "{workload: hot-rnk}");
  EXPECT_EQ(refused_scenario(yaml),
            "scenario.yaml:4:21: 'hot-rnk' is not a possible 'workload' of routing; did you mean "
            "'hot-rank'?\n");
  yaml = replaced(yaml, "hot-rnk", "hot-rank, intensity: 9");
  EXPECT_EQ(
      refused_scenario(yaml),
      "scenario.yaml:4:21: hot-rank cannot have intensity 9: with 16 experts, top-2 and 2 hot "
      "ones it is 1 to 8; the fullest expert has at most every token, and the hot ones at "
      "most every row\n");
  yaml = replaced(yaml, "hot-rank, intensity: 9", "balanced, intensity: 2");
  EXPECT_EQ(
      refused_scenario(yaml),
      "scenario.yaml:4:31: unknown key 'intensity' in routing; possible: capacity, synthetic, "
      "token_budget, trace, workload\n");
  yaml = replaced(yaml, "balanced, intensity: 2", "balanced, synthetic: {zipf: 1}");
  EXPECT_EQ(
      refused_scenario(yaml),
      "scenario.yaml:4:10: routing has two of 'trace', 'synthetic' and 'workload'; keep one of "
      "them\n");
}

// Written as a trace and replayed, a workload is the same rows for the same experts.
TEST_F(NamedWorkloads, ATraceOfAWorkloadReplaysAsIt) {
  const std::vector<std::string> shape = {
      "trace",   "synth", "--layers",          "2", "--experts", "16", "--top-k", "2",
      "--ranks", "8",     "--tokens-per-rank", "8", "--seed",    "7",  "-o",      "t.moetrace"};
  const auto synth = [&](std::vector<std::string> more) {
    more.insert(more.begin(), shape.begin(), shape.end());
    return simulate(folder_, more);
  };
  ASSERT_EQ(
      synth({"--steps", "70", "--workload", "rotating-hotspot", "--set", "period=2"}).exit_code, 0);
  const std::string rows = "SELECT step, layer, expert, rows FROM experts ORDER BY 1, 2, 3";
  const Database replayed = database("{trace: t.moetrace}", "replayed.db");
  const Database drawn = database("{workload: rotating-hotspot, period: 2}", "drawn.db");
  EXPECT_EQ(replayed.rows(rows), drawn.rows(rows));
  EXPECT_EQ(synth({"--steps", "4", "--workload", "hot-rank", "--set", "period=3"}).err,
            "--set period: unknown key 'period' in --workload; possible: intensity, rank, "
            "token_budget, workload\n");
  EXPECT_EQ(synth({"--steps", "4", "--set", "period=3"}).err,
            "--set is a key of --gate or of --workload\n");
  EXPECT_EQ(synth({"--workload", "hot-rank"}).err, "trace synth needs --steps or --requests\n");
}

// sim/scenarios/workloads.md: the page is this test's answer. MOE_ACCEPT_GOLDEN=1 writes it anew.
TEST_F(NamedWorkloads, ThePageShowsWhatEachChanges) {
  struct Price {
    double expert_imbalance, rank_imbalance, step_s;
  };
  folder_.write("priced.yaml",
                "model: gpt-oss-20b\ncluster: {use: hgx-h100, nodes: 1}\n"
                "communication: {dispatch: deepep-low-latency, precision: {dispatch: fp8, "
                "combine: bf16}}\nseed: 7\n");
  const auto price = [&](const NamedWorkload& workload, const std::string& kind) {
    const CommandResult result =
        simulate(folder_, {"run", "priced.yaml", "--json", "--set",
                           fmt::format("routing={{workload: {}}}", workload.name), "--set",
                           "workload=" + kind});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    const nlohmann::json metrics = nlohmann::json::parse(result.out)["metrics"];
    return Price{metrics["expert_imbalance_max_over_mean"], metrics["imbalance_max_over_mean"],
                 metrics["step_time_s"]};
  };
  std::string table;
  std::vector<Price> even;
  for (const NamedWorkload& each : kNamedWorkloads) {
    const std::vector<Price> prices = {
        price(each, "{kind: decode, tokens_per_gpu: 64, context: 1024, steps: 12}"),
        price(each, "{kind: layer, parts: moe, phase: prefill, tokens_per_gpu: 4096, steps: 12}")};
    if (even.empty()) even = prices;
    table +=
        fmt::format("| {} | {:.2f} | {:.2f} | {:.2f} ms | {:+.1f} % | {:.0f} us | {:+.1f} % |\n",
                    each.name, prices[0].expert_imbalance, prices[0].rank_imbalance,
                    1e3 * prices[0].step_s, 100 * (prices[0].step_s / even[0].step_s - 1),
                    1e6 * prices[1].step_s, 100 * (prices[1].step_s / even[1].step_s - 1));
  }
  const std::string path = MOE_SOURCE_DIR "/sim/scenarios/workloads.md";
  std::ifstream in(path, std::ios::binary);
  const std::string page{std::istreambuf_iterator<char>(in), {}};
  const std::size_t begin = page.find("| balanced |");
  ASSERT_NE(begin, std::string::npos);
  const std::size_t end = page.find("\n\n", begin) + 1;
  const std::string wanted = page.substr(0, begin) + table + page.substr(end);
  if (std::getenv("MOE_ACCEPT_GOLDEN") != nullptr) std::ofstream(path, std::ios::binary) << wanted;
  EXPECT_EQ(first_difference(page, wanted), "")
      << "if this is meant, run with MOE_ACCEPT_GOLDEN=1 and say why in the commit";
}

}  // namespace
}  // namespace sim::testing
