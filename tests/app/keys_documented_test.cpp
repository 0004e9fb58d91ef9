// sim/scenarios/README.md names every key that the code asks for, and no other.
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>

#include "sim/app/scenario.h"

namespace sim {
namespace {

std::set<std::string> documented_keys() {
  std::ifstream in(std::string(MOE_SOURCE_DIR) + "/sim/scenarios/README.md");
  const std::regex row("^\\| `([a-z_.]+)` \\|.*");
  std::set<std::string> keys;
  std::string line;
  std::smatch match;
  while (std::getline(in, line)) {
    if (std::regex_match(line, match, row)) keys.insert(match[1]);
  }
  return keys;
}

// The keys of a scenario file, `cluster` as a whole: its parameters are its generator's.
std::set<std::string> asked_keys(const std::vector<std::string>& assignments) {
  const Catalog catalog;
  const Scenario scenario = read_scenario(
      std::string(MOE_SOURCE_DIR) + "/sim/scenarios/first-light.yaml", {assignments, {}}, catalog);
  std::set<std::string> keys;
  for (const std::string& key : scenario.asked_keys) {
    if (key.rfind("cluster.", 0) == 0) continue;
    // A mapping is documented through its keys.
    const std::string below = key + ".";
    const auto next = scenario.asked_keys.lower_bound(below);
    const bool mapping = next != scenario.asked_keys.end() && next->rfind(below, 0) == 0;
    if (!mapping || key == "cluster" || key.rfind("workload.", 0) == 0) keys.insert(key);
  }
  return keys;
}

TEST(ScenarioKeys, ThePageNamesWhatTheCodeReadsAndNothingElse) {
  std::set<std::string> asked;
  for (const std::vector<std::string>& assignments : std::vector<std::vector<std::string>>{
           {},
           {"workload={kind: decode, tokens_per_gpu: 8, context: {uniform: [10, 20]}}",
            "host.launch=eager"},
           {"workload={kind: prefill, tokens_per_gpu: 64, prompt_tokens: {uniform: [10, 20]}}",
            "routing={synthetic: {zipf: 0.5}}"},
           {"workload={kind: layer, tokens_per_gpu: 8, context: 10}",
            "communication={precision: {dispatch: fp8}}"}}) {
    asked.merge(asked_keys(assignments));
  }
  EXPECT_EQ(documented_keys(), asked);
}

}  // namespace
}  // namespace sim
