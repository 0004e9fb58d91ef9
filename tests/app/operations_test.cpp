// Scenarios of kind `operations`, by the command.
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <regex>
#include <set>

#include "sim/app/operations/operations_scenario.h"
#include "tests/app/refusal.h"
#include "tests/support/run_command.h"

namespace sim::testing {
namespace {

constexpr const char* kTimes =
    "workload: {kind: operations}\n"
    "operations:\n"
    "  published: fsmoe-a\n"
    "  forward: {all_to_all: 6.9 ms, all_gather: 4.6 ms, reduce_scatter: 5.4 ms, experts: 3.1 ms, "
    "routing: 0.1 ms, order: 0.3 ms, attention: 1.7 ms}\n"
    "  backward: {all_to_all: 6.9 ms, all_reduce: 5.26 ms, all_gather: 4.6 ms, reduce_scatter: 5.4 "
    "ms, experts: 6.1 ms, routing: 0.1 ms, order: 0.4 ms, attention: 3.6 ms}\n"
    "schedule: {layer: ds-moe}\n";

constexpr const char* kSizes =
    "workload: {kind: operations, layers: 2}\n"
    "operations: {published: fsmoe-b, batch: [1, 2], sequence_length: 512, hidden: [1024, 2048],\n"
    "  ffn_ratio: 4, capacity_factor: [1.2], feed_forward: [simple, gated]}\n"
    "schedule: {layer: fsmoe, baseline: tutel}\n";

class Operations : public Refusal {};

TEST_F(Operations, WithoutOverlapTheTableAddsUp) {
  folder_.write("times.yaml", kTimes);
  const CommandResult result =
      simulate(folder_, {"run", "times.yaml", "--json", "--results", "out.db"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_NEAR(json["metrics"]["forward_time_s"], 22.1e-3, 1e-9);
  EXPECT_NEAR(json["metrics"]["step_time_s"], (22.1 + 32.36) * 1e-3, 1e-9);
  EXPECT_NEAR(json["metrics"]["forward_all_to_all_time_s"], 6.9e-3, 1e-9);
  const CommandResult rows =
      simulate(folder_, {"query", "out.db", "SELECT sum(duration_ps) AS ps FROM causes", "--json"});
  ASSERT_EQ(rows.exit_code, 0) << rows.err;
  EXPECT_NE(rows.out.find("54460000000"), std::string::npos) << rows.out;
}

TEST_F(Operations, ListsMakeEveryCombination) {
  folder_.write("sizes.yaml", kSizes);
  const CommandResult result = simulate(folder_, {"run", "sizes.yaml", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const auto json = nlohmann::json::parse(result.out);
  ASSERT_EQ(json["configurations"].size(), 8U);
  double sum = 0;
  for (const auto& each : json["configurations"]) {
    sum += each["baseline_step_time_s"].get<double>() / each["step_time_s"].get<double>();
  }
  EXPECT_NEAR(json["metrics"]["speedup_mean"], sum / 8, 1e-12);
  EXPECT_EQ(simulate(folder_, {"check", "sizes.yaml"}).exit_code, 0);
}

TEST_F(Operations, MistakesAreToldTogether) {
  EXPECT_EQ(refused_scenario("workload: {kind: operations, steps: 3}\n"
                             "operations: {published: fsmoe-c, batch: [], sequence_length: 512,\n"
                             "  hidden: 1024, ffn_ratio: [4, x], capacity_factor: 1.2}\n"
                             "schedule: {layer: ds-moe, degree: 2}\n"),
            "scenario.yaml:1:30: unknown key 'steps' in workload; possible: kind, layers\n"
            "scenario.yaml:2:25: 'fsmoe-c' is not a possible 'published' of operations; did you "
            "mean 'fsmoe-a'?\n"
            "scenario.yaml:2:41: the list 'batch' is empty\n"
            "scenario.yaml:3:32: 'ffn_ratio' holds numbers from 0.01 to 1000\n"
            "scenario.yaml:4:35: ds-moe overlaps nothing: its degree is 1\n");
}

// sim/scenarios/operations.md names every key that the code asks for, and no other.
TEST(OperationsKeys, ThePageNamesWhatTheCodeReads) {
  std::set<std::string> asked;
  for (const char* text : {kTimes, kSizes}) {
    const auto document = YamlDocument::parse(text, "s.yaml");
    read_operations_scenario(*document);
    asked.insert(document->asked_paths().begin(), document->asked_paths().end());
  }
  for (const char* mapping :
       {"workload", "operations", "schedule", "operations.forward", "operations.backward"})
    asked.erase(mapping);
  std::ifstream in(std::string(MOE_SOURCE_DIR) + "/sim/scenarios/operations.md");
  const std::regex row("^\\| `([a-z_.]+)` \\|.*");
  std::set<std::string> named;
  std::string line;
  std::smatch match;
  while (std::getline(in, line))
    if (std::regex_match(line, match, row)) named.insert(match[1]);
  EXPECT_EQ(named, asked);
}

}  // namespace
}  // namespace sim::testing
