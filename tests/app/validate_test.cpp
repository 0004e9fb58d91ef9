// `simulate validate`: what it says of good and of bad reproductions, and that the committed page
// is what it says today.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>

#include "sim/app/validation/expression.h"
#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

double value_of(const std::string& text) {
  return Expression::parse(text, {}).value(
      [](const std::string& name) { return name == "runs.a.x" ? 3.0 : 5.0; });
}

TEST(Expression, IsArithmeticAsAtSchool) {
  EXPECT_EQ(value_of("2 + 3 * 4"), 14);
  EXPECT_EQ(value_of("(2 + 3) * 4"), 20);
  EXPECT_EQ(value_of("7 - 2 - 1"), 4);
  EXPECT_EQ(value_of("8/4/2"), 1);
  EXPECT_EQ(value_of("-2 * -(1 - 4)"), -6);
  EXPECT_EQ(value_of("1.5e1"), 15);
  EXPECT_EQ(value_of("runs.a.x - runs.b.y*2"), -7);
  EXPECT_EQ(Expression::parse("a.b + c / a.b", {}).names(), (std::vector<std::string>{"a.b", "c"}));
}

TEST(Expression, SaysWhereItIsWrong) {
  const auto message = [](const std::string& text) {
    try {
      value_of(text);
    } catch (const Error& error) {
      return error.mistakes().front().message;
    }
    return std::string("no mistake");
  };
  EXPECT_EQ(message(""), "'', character 1: it ends where a number or a name should follow");
  EXPECT_EQ(message("1 +"), "'1 +', character 4: it ends where a number or a name should follow");
  EXPECT_EQ(message("(1 + 2"), "'(1 + 2', character 7: a ')' is missing");
  EXPECT_EQ(message("1 2"), "'1 2', character 3: an operator is missing here");
  EXPECT_EQ(message("2x"), "'2x', character 2: an operator is missing here");
  EXPECT_EQ(message("a..b"), "'a..b', character 5: a part of the name 'a..b' is empty");
  EXPECT_EQ(message("* 3"), "'* 3', character 1: a number, a name or '(' should stand here");
  EXPECT_THAT(message(std::string(500, '(') + "1"), HasSubstr("nested too deep"));
  EXPECT_THAT(message(std::string(500, '-') + "1"), HasSubstr("too many signs"));
  EXPECT_THAT(message(std::string(3000, '1')), HasSubstr("longer than"));
}

constexpr const char* kHead = R"(system: Tiny
source: {title: A paper, table: Table 1, url: https://example.org}
runs:
  base: {scenario: ../s/good.yaml}
  more: {from: base, set: [workload.tokens_per_gpu=16]}
rows:
)";

constexpr const char* kMore = "  more: {from: base, set: [workload.tokens_per_gpu=16]}\n";

class Validate : public Refusal {
 protected:
  // Every *.yaml of "r" is a reproduction, so their scenario and its model lie in "s".
  void SetUp() override {
    for (const char* each : {"r", "s"}) std::filesystem::create_directory(folder_.file(each));
    folder_.write("s/model.yaml", kTinyModel);
    folder_.write("s/good.yaml", kTinyScenario);
  }
  void write(const std::string& name, const std::string& text) { folder_.write("r/" + name, text); }
  // What nothing uses is a mistake, so the second run is there only when it is.
  void rows(const std::string& text) {
    const bool more = text.find("runs.more") != std::string::npos;
    write("tiny.yaml", (more ? std::string(kHead) : replaced(kHead, kMore, "")) + text);
  }
  CommandResult validate(std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"validate", "r"});
    return simulate(folder_, more);
  }
  json ok(std::vector<std::string> more = {}) {
    more.push_back("--json");
    const CommandResult result = validate(std::move(more));
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return json::parse(result.out);
  }
  double step_time() {
    const CommandResult result = simulate(folder_, {"run", "s/good.yaml", "--json"});
    return json::parse(result.out)["metrics"]["step_time_s"];
  }
};

std::string row(const std::string& id, double published, const std::string& value,
                const std::string& more = "") {
  return "- {id: " + id + ", figure: f, published: " + std::to_string(published) +
         ", unit: s, kind: time, value: " + value + more + "}\n";
}

TEST_F(Validate, SetsTheRunsNumberBesideThePublishedOne) {
  rows("");
  const double step = step_time();
  rows(row("pass", step * 1e3 / 1.1, "runs.base.step_time_s * 1e3") +
       row("miss", step * 1e3 / 1.2, "runs.base.step_time_s * 1e3") +
       row("ratio", 1.5, "runs.more.step_time_s / runs.base.step_time_s") +
       "- {id: no, figure: f, published: 2, unit: s, kind: time, not_run: there is no such "
       "model}\n");
  const json all = ok();
  ASSERT_EQ(all.size(), 4U);
  std::vector<std::string> keys;
  for (const auto& [key, value] : all[0].items()) keys.push_back(key);
  EXPECT_THAT(
      keys, ::testing::UnorderedElementsAre("id", "system", "figure", "published", "simulated",
                                            "unit", "error", "fitted", "pass", "source", "reason"));
  EXPECT_EQ(all[0]["source"], "A paper, Table 1, https://example.org");
  EXPECT_NEAR(all[0]["simulated"], step * 1e3, 1e-9 * step);
  EXPECT_NEAR(all[0]["error"], 0.1, 1e-3);
  EXPECT_EQ(all[0]["pass"], true);
  EXPECT_NEAR(all[1]["error"], 0.2, 1e-3);
  EXPECT_EQ(all[1]["pass"], false);
  EXPECT_GT(all[2]["simulated"], 1);
  EXPECT_EQ(all[2]["pass"], false);
  EXPECT_TRUE(all[3]["simulated"].is_null() && all[3]["pass"].is_null());
  EXPECT_EQ(all[3]["reason"], "there is no such model");
  // One of the two scenarios stands behind two rows and is run once.
  EXPECT_THAT(validate().out, HasSubstr("4 rows, 2 scenarios run: 1 pass, 2 miss"));
  EXPECT_EQ(validate({"--strict"}).exit_code, 1);
  EXPECT_EQ(ok({"--only", "miss"}).size(), 1U);
  EXPECT_EQ(ok({"--only", "Tiny"}).size(), 4U);
  EXPECT_THAT(validate({"--only", "mis"}).err,
              HasSubstr("no system and no row is called 'mis'; did you mean 'miss'?"));
}

TEST_F(Validate, AReasonBesideAPassIsAMistake) {
  rows("");
  const double step = step_time();
  rows(row("good", 2 * step, "runs.more.step_time_s", ", reason: it is larger") +
       row("stale", step, "runs.base.step_time_s", ", reason: old news"));
  const CommandResult result = validate();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.err,
            "r/tiny.yaml:8:3: row 'stale' has a reason for its miss, and passes; "
            "remove 'reason'\n");
}

TEST_F(Validate, SlowRunsWaitForAll) {
  rows(row("quick", 1, "runs.base.step_time_s") +
       row("slow", 1, "run.step_time_s", ", run: {from: base, slow: true, set: [seed=3]}"));
  const json quick = ok();
  EXPECT_TRUE(quick[1]["simulated"].is_null());
  EXPECT_EQ(quick[1]["reason"], "slow, not run: --all runs it");
  EXPECT_TRUE(ok({"--all"})[1]["simulated"].is_number());
}

TEST_F(Validate, MemoryIsKnownWithoutARun) {
  rows(row("total", 1, "check.base.memory.total") +
       row("sum", 1, "check.base.memory.weights + check.base.memory.kv_cache") +
       row("weights", 1, "check.base.memory.weights"));
  const json all = ok();
  EXPECT_GT(all[0]["simulated"], all[1]["simulated"]);
  // 24 sequences of 100 to 102 tokens in 3 layers: two heads of 64 for keys and values, bf16.
  EXPECT_EQ(all[1]["simulated"].get<double>() - all[2]["simulated"].get<double>(),
            8.0 * 102 * 3 * 2 * 2 * 64 * 2);
}

TEST_F(Validate, WhatTheSimulatorRefusesIsAMissThatSaysWhy) {
  rows(row("big", 1, "run.step_time_s",
           ", run: {from: base, set: [workload.context=4000000, workload.tokens_per_gpu=99]}"));
  const json all = ok();
  EXPECT_EQ(all[0]["pass"], false);
  EXPECT_TRUE(all[0]["simulated"].is_null());
  EXPECT_THAT(all[0]["reason"].get<std::string>(), HasSubstr("refused: gpu 0 (h100-sxm) needs "));
}

TEST_F(Validate, NamesEveryMistakeOfItsFiles) {
  rows(row("a", 1, "runs.bse.step_time_s") + row("a", 1, "runs.more.step_time_s") +
       row("b", 1, "run.step_time_s") + row("c", 1, "steps") + row("d", 0, "1") +
       "- {id: e, figure: f, published: 1, unit: s, kind: length, value: '1 +'}\n" +
       "- {id: f, figure: f, published: 1, unit: s, kind: time}\n");
  const std::string text = validate().err;
  for (const char* part : {
           "r/tiny.yaml:7:71: there is no run 'bse' in 'runs.bse.step_time_s'; did you mean "
           "'base'?",
           "r/tiny.yaml:8:3: the id 'a' stands at r/tiny.yaml:7 already",
           "'run.step_time_s': the row has no 'run'",
           "'steps' is not a quantity; runs.NAME.METRIC, check.NAME.memory.ITEM, or run.METRIC of",
           "an error is relative: 0 has none",
           "'length' is not a possible 'kind' of the row; possible: bytes, rate, ratio, time",
           "'1 +', character 4: it ends where a number or a name should follow",
           "row 'f' needs either 'value' or 'not_run'",
       }) {
    EXPECT_THAT(text, HasSubstr(part));
  }
}

TEST_F(Validate, AMistakeInARunIsPlacedWhereItStands) {
  rows(row("a", 1, "run.step_time_s", ", run: {from: base, set: [parallel.epp=4]}"));
  CommandResult result = validate();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("r/tiny.yaml:6:"));
  EXPECT_THAT(result.err, HasSubstr("set parallel.epp: "));
  write("tiny.yaml",
        replaced(kHead, "base: {scenario: ../s/good.yaml}",
                 "base:\n    scenario:\n      model: ../s/model.yaml\n      clustr: x") +
            row("a", 1, "runs.more.step_time_s"));
  result = validate();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("r/tiny.yaml:7:"));
  EXPECT_THAT(result.err, HasSubstr("'clustr'"));
}

TEST_F(Validate, AskingForWhatARunDoesNotHaveIsAMistake) {
  rows(row("a", 1, "runs.base.step_tme_s"));
  const CommandResult result = validate();
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_EQ(result.err,
            "r/tiny.yaml:6:3: the run has no 'step_tme_s', asked for as "
            "'runs.base.step_tme_s'; did you mean 'step_time_s'?\n");
}

// The experts' kernel on H100 was fitted to aic-h100-deepep-decode, to no other table here.
TEST_F(Validate, FittedIsComputedFromWhatTheConstantsWereFittedTo) {
  write("fitted.yaml", R"(system: Fitted
source: {title: T, url: u}
tables: [another-table]
runs:
  layer:
    scenario:
      model: deepseek-v3
      cluster: {use: hgx-h100, nodes: 1}
      workload: {kind: layer, parts: moe, tokens_per_gpu: 64}
      routing: {synthetic: {uniform: true}}
      communication: {dispatch: deepep-low-latency}
rows:
- {id: another-row, figure: f, published: 1, unit: s, kind: time, value: runs.layer.step_time_s}
- {id: table, figure: f, published: 1, unit: s, kind: time, value: runs.layer.step_time_s, tables: [aic-h100-deepep-decode]}
- {id: "aic-h100-deepep-decode#7", figure: f, published: 1, unit: s, kind: time, value: runs.layer.step_time_s}
- {id: "aic-h100-deepep-decode#9999", figure: f, published: 1, unit: s, kind: time, value: runs.layer.step_time_s}
- {id: memory, figure: f, published: 1, unit: s, kind: time, value: check.layer.memory.total, tables: [aic-h100-deepep-decode]}
)");
  const json all = ok();
  EXPECT_EQ(all[0]["fitted"], false);
  EXPECT_EQ(all[1]["fitted"], true);
  EXPECT_EQ(all[2]["fitted"], true);
  EXPECT_EQ(all[3]["fitted"], false);
  EXPECT_EQ(all[4]["fitted"], false);
}

// ---- The committed page

std::vector<std::string> systems() {
  std::set<std::string> names;
  for (const auto& entry :
       std::filesystem::directory_iterator(MOE_SOURCE_DIR "/tests/reproductions")) {
    if (entry.path().extension() != ".yaml") continue;
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      if (line.rfind("system: ", 0) == 0) names.insert(line.substr(8));
    }
  }
  return {names.begin(), names.end()};
}

class ValidationPage : public ::testing::TestWithParam<std::string> {};

TEST_P(ValidationPage, IsWhatTheQuickRowsGiveToday) {
  std::ifstream file(MOE_SOURCE_DIR "/tests/reproductions/results.md");
  std::set<std::string> page;
  for (std::string line; std::getline(file, line);) page.insert(line);
  const TempFolder folder;
  const CommandResult result = simulate(folder, {"validate", "--only", GetParam(), "--markdown"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  std::istringstream lines(result.out);
  int compared = 0;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("| ", 0) != 0) continue;
    ++compared;
    if (line.find("| slow, not run |") == std::string::npos) {
      EXPECT_EQ(page.count(line), 1U)
          << line
          << "\nis not in tests/reproductions/results.md; its README says how to make it anew";
      continue;
    }
    // A slow row's number is as old as the page, but its row stands there.
    const std::string head = line.substr(0, line.find(" | ", line.find(" | ") + 3) + 3);
    const auto at = page.lower_bound(head);
    EXPECT_TRUE(at != page.end() && at->rfind(head, 0) == 0) << head << " is not in results.md";
  }
  EXPECT_GE(compared, 2);
}

INSTANTIATE_TEST_SUITE_P(Systems, ValidationPage, ::testing::ValuesIn(systems()),
                         [](const auto& test) {
                           std::string name;
                           for (const char c : test.param)
                             if (std::isalnum(static_cast<unsigned char>(c)) != 0) name += c;
                           return name;
                         });

}  // namespace
}  // namespace sim::testing
