// Two runs side by side: what was said differently, and where the time went.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "sim/app/scenario_difference.h"
#include "tests/app/database.h"
#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

using ::testing::HasSubstr;

class Compare : public Refusal {
 protected:
  void run(std::vector<std::string> more = {}) {
    more.insert(more.begin(), {"run", "good.yaml", "--results", "r.db"});
    const CommandResult result = simulate(folder_, more);
    ASSERT_EQ(result.exit_code, 0) << result.err;
  }
  std::string ok(const std::vector<std::string>& arguments) {
    const CommandResult result = simulate(folder_, arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  }
};

TEST_F(Compare, DifferencesOfCausesAddUpToThatOfTheStep) {
  run();
  run({"--set", "workload.tokens_per_gpu=3"});
  const auto json = nlohmann::json::parse(ok({"compare", "r.db", "1", "2", "--json"}));
  ASSERT_EQ(json["scenario"].size(), 1U) << json["scenario"].dump();
  EXPECT_EQ(json["scenario"][0]["key"], "workload.tokens_per_gpu");
  EXPECT_EQ(json["scenario"][0]["b"], "3");
  double causes = 0;
  for (const auto& cause : json["causes"]) {
    causes += (cause["b"].is_null() ? 0.0 : cause["b"].get<double>()) -
              (cause["a"].is_null() ? 0.0 : cause["a"].get<double>());
  }
  double step = 0;
  for (const auto& metric : json["metrics"]) {
    if (metric["name"] == "step_time_s")
      step = metric["b"].get<double>() - metric["a"].get<double>();
  }
  EXPECT_NE(step, 0);
  EXPECT_NEAR(causes, step, 1e-12);
  // The same numbers as the database has.
  const Database db(folder_.file("r.db"));
  EXPECT_EQ(std::to_string(json["metrics"].size()),
            db.one("SELECT count(DISTINCT name) FROM metrics"));
}

TEST_F(Compare, ARunAndItselfAreTheSame) {
  run();
  run();
  const std::string out = ok({"compare", "r.db", "1", "2"});
  EXPECT_THAT(out, HasSubstr("equal fingerprints: the same results\n"));
  EXPECT_THAT(out, HasSubstr("the scenarios say the same\n"));
  EXPECT_THAT(out, HasSubstr("+0.000"));
}

TEST_F(Compare, RefusesRunsThatAreNotThere) {
  run();
  const CommandResult missing = simulate(folder_, {"compare", "r.db", "1", "7"});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_THAT(missing.err, HasSubstr("7"));
  Database(folder_.file("r.db")).rows("DELETE FROM steps");
  const CommandResult empty = simulate(folder_, {"compare", "r.db", "1", "1"});
  EXPECT_EQ(empty.exit_code, 1);
  EXPECT_EQ(empty.err,
            "run 1 of r.db has no finished step to compare; `simulate query r.db runs` shows how "
            "far each run came\n");
}

TEST(ScenarioDifference, NamesNestedKeysAndWhatOnlyOneSays) {
  const auto keys = scenario_difference(
      "model: m\nplacement: {policy: eplb, redundant_experts: 8}\nlist: [1, {a: 2}]\n",
      "placement:\n  policy: contiguous\nmodel: m\nlist: [1, {a: 3}]\nseed: 7\n");
  ASSERT_EQ(keys.size(), 4U);
  const auto text = [&](std::size_t i) { return keys[i].key + "|" + keys[i].a + "|" + keys[i].b; };
  EXPECT_EQ(text(0), "placement.policy|eplb|contiguous");
  EXPECT_EQ(text(1), "placement.redundant_experts|8|");
  EXPECT_EQ(text(2), "list|[1, {a: 2}]|[1, {a: 3}]");
  EXPECT_EQ(text(3), "seed||7");
}

}  // namespace
}  // namespace sim::testing
