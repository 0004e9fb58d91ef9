// A folder with a small model and scenario, and what the command says of what it cannot use.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/support/run_command.h"

namespace sim::testing {

// One dense layer, two routed ones of 16 experts, top-2.
inline constexpr const char* kTinyModel = R"(name: tiny
source: made up
hidden: 512
vocabulary: 1000
max_context: 4096
blocks:
  attention: {kind: grouped, heads: 8, kv_heads: 2, head_dim: 64, value_dim: 64}
  dense: {kind: ffn, dense_inter: 1024}
  routed: {kind: ffn, expert_inter: 256, shared_experts: 1, shared_inter: 256, routing: {experts: 16, top_k: 2}}
layers:
  - {repeat: 1, pattern: [[attention, dense]]}
  - {repeat: 2, pattern: [[attention, routed]]}
)";

inline constexpr const char* kTinyScenario = R"(model: model.yaml
cluster: {use: hgx-h100, nodes: 1}
workload: {kind: decode, tokens_per_gpu: 8, context: 100, steps: 3}
routing: {synthetic: {zipf: 0.8}}
seed: 7
)";

class Refusal : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_.write("model.yaml", kTinyModel);
    folder_.write("good.yaml", kTinyScenario);
  }

  // Runs the command, which must fail on its input and leave every file as it was. Returns what it
  // said, with this folder as TMP and the repository as REPO.
  std::string refused(const std::vector<std::string>& arguments, RunAs user = RunAs::kMe) const {
    const auto before = files();
    const CommandResult result = simulate(folder_, arguments, user);
    EXPECT_EQ(result.exit_code, 1) << "signal " << result.signal;
    EXPECT_EQ(result.out, "");
    EXPECT_EQ(files() == before, true) << "the command changed or left a file";
    return said(result);
  }

  // The same for a scenario: with a new results database, which must not be made, and by `check`.
  std::string refused_scenario(const std::string& yaml) const {
    folder_.write("scenario.yaml", yaml);
    const std::string text = refused({"run", "scenario.yaml", "--results", "results.db"});
    EXPECT_EQ(refused({"check", "scenario.yaml"}), text);
    return text;
  }

  std::string said(const CommandResult& result) const {
    return replaced(replaced(result.err, folder_.path(), "TMP"), MOE_SOURCE_DIR, "REPO");
  }

  std::map<std::string, std::string> files() const {
    std::map<std::string, std::string> contents;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      const std::string name = entry.path().filename().string();
      contents[name] = entry.is_regular_file() ? folder_.read(name) : "";
    }
    return contents;
  }

  TempFolder folder_;
};

}  // namespace sim::testing
