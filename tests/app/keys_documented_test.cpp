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

// Every key that reading first-light with these changes asks for.
std::set<std::string> asked_keys(const std::vector<std::string>& assignments) {
  const Catalog catalog;
  std::set<std::string> keys;
  for (const std::string& key :
       read_scenario(std::string(MOE_SOURCE_DIR) + "/sim/scenarios/first-light.yaml",
                     {assignments, {}}, catalog)
           .asked_keys) {
    keys.insert(
        std::regex_replace(key, std::regex("\\[[0-9]+\\]"), ""));  // entries of a list alike
  }
  return keys;
}

// What the page should name: `cluster` as a whole, for its parameters are its generator's, and
// other mappings through their keys.
std::set<std::string> to_document(const std::set<std::string>& asked) {
  std::set<std::string> keys;
  for (const std::string& key : asked) {
    if (key.rfind("cluster.", 0) == 0) continue;
    const std::string below = key + ".";
    const auto next = asked.lower_bound(below);
    const bool mapping = next != asked.end() && next->rfind(below, 0) == 0;
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
           {"workload={kind: training, sequence_length: 64, micro_batches: 2}",
            "placement.redundant_experts=0", "routing={synthetic: {uniform: true}}"},
           {"workload={kind: training, sequence_length: 64, global_batch: 16}",
            "placement.redundant_experts=0", "routing={synthetic: {uniform: true}}",
            "training.recompute=[norms]", "schedule={pipeline: given, order: [[F0, B0, F1, B1]]}"},
           {"routing={workload: hot-rank}"},
           {"routing={workload: zero-load-rank}"},
           {"routing={workload: rotating-hotspot}"},
           {"routing={workload: burst}"},
           {"routing.capacity={factor: 1}"},
           {"routing.capacity={factor: adaptive, most: 2}"},
           {"workload={kind: layer, tokens_per_gpu: 8, context: 10}",
            "communication={precision: {dispatch: fp8}}"},
           {"disturbances=[{link: '*', capacity: 0.5, from: 1 us, until: 2 us, reroute: 1 us}, "
            "{link: '*', capacities: [{at: 1 us, capacity: 0.5}]}, "
            "{link: '*', background: {cap: 1 GB/s, on: 1 us, off: 1 us}}, "
            "{link: '*', jitter: {distribution: normal, mean: 1 us, deviation: 1 us}}, "
            "{link: '*', jitter: {distribution: lognormal, median: 1 us, sigma: 1}}, "
            "{link: '*', jitter: {distribution: exponential, mean: 1 us}}, "
            "{link: '*', jitter: {distribution: pareto, least: 1 us, shape: 2}}, "
            "{link: '*', jitter: {distribution: uniform, least: 1 us, most: 2 us}}, "
            "{device: 0, slowdown: 2, from: 1 us, until: 2 us}, "
            "{device: 0, drift: {per_second: 1, most: 2}}, "
            "{device: 0, jitter: {distribution: lognormal, sigma: 1, kernels: [experts]}}, "
            "{device: 0, jitter: {distribution: exponential, mean: 1}}, "
            "{device: 0, jitter: {distribution: uniform, least: 1, most: 2}}, "
            "{device: 0, nic: {capacity: 0.5}}, {device: 0, stops: 1 us}]"}}) {
    asked.merge(asked_keys(assignments));
  }
  EXPECT_EQ(documented_keys(), to_document(asked));
}

}  // namespace
}  // namespace sim
