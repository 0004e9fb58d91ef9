// simulate trace stats: metrics of a trace, two traces and two halves side by side.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

class TraceStats : public Refusal {
 protected:
  TraceStats() {
    ok({"trace", "synth", "--layers", "2", "--experts", "16", "--top-k", "2", "--requests", "20",
        "--positions", "20", "30", "--repeat", "0.5", "--seed", "3", "-o", "a.moetrace"});
  }
  std::string ok(const std::vector<std::string>& arguments) const {
    const CommandResult result = simulate(folder_, arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return result.out;
  }
  nlohmann::json stats(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), {"trace", "stats", "a.moetrace"});
    arguments.push_back("--json");
    return nlohmann::json::parse(ok(arguments));
  }
  static double value(const nlohmann::json& rows, const std::string& metric,
                      const std::string& parameter, const char* key = "value") {
    for (const auto& row : rows) {
      if (row.at("metric") == metric && row.at("parameter") == parameter && !row.contains("layer"))
        return row.at(key).get<double>();
    }
    ADD_FAILURE() << "no row " << metric << " " << parameter;
    return 0;
  }
};

// Half of the tokens keep the experts of the token before: more than half is shared at lag 1.
TEST_F(TraceStats, ShowsTheLocalityThatWasAskedFor) {
  const nlohmann::json rows = stats({"--metrics", "locality,destinations"});
  EXPECT_GT(value(rows, "shared_experts", "lag=1"), 0.5);
  EXPECT_LT(value(rows, "shared_experts", "independent"), 0.3);
  EXPECT_GT(value(rows, "destination_ranks", "EP=8"), 1.5);
  for (const auto& row : rows) EXPECT_NE(row.at("metric"), "group_srp");
}

TEST_F(TraceStats, OfATraceBesideItselfDifferInNothing) {
  const nlohmann::json rows = stats({"--beside", "a.moetrace"});
  EXPECT_GT(rows.size(), 150u);
  for (const auto& row : rows) EXPECT_EQ(row.at("first"), row.at("second")) << row.dump();
}

TEST_F(TraceStats, PutHalvesSideBySide) {
  const nlohmann::json rows = stats({"--halves", "--metrics", "popularity,locality"});
  const double first = value(rows, "shared_experts", "lag=1", "first");
  EXPECT_NE(first, value(rows, "shared_experts", "lag=1", "second"));
  EXPECT_NEAR(value(rows, "shared_experts", "lag=1", "relative"),
              value(rows, "shared_experts", "lag=1", "second") / first - 1, 1e-12);
}

TEST_F(TraceStats, KeepTheirOneScreenByDefault) {
  const std::string text = ok({"trace", "stats", "a.moetrace"});
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3) << text;
}

TEST_F(TraceStats, RefuseWhatTheyCannotShow) {
  EXPECT_NE(
      refused({"trace", "stats", "a.moetrace", "--metrics", "srq"}).find("did you mean 'srp'?"),
      std::string::npos);
  EXPECT_NE(refused({"trace", "stats", "a.moetrace", "--metrics", "srp", "--by", "tag"})
                .find("a.moetrace: this trace has no tags"),
            std::string::npos);
  EXPECT_NE(refused({"trace", "stats", "a.moetrace", "--metrics", "srp", "--by", "step"})
                .find("metrics are not taken by step"),
            std::string::npos);
}

}  // namespace
}  // namespace sim::testing
