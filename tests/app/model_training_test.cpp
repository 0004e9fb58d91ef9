// `simulate model show --training`.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

TEST_F(Refusal, RecomputationOfWhatIsNotThere) {
  EXPECT_EQ(refused({"model", "show", "deepseek-v3", "--training", "--recompute", "norms,mla-up"}),
            "--recompute: 'mla-up' cannot be recomputed; did you mean 'mla_up'?\n");
  EXPECT_EQ(refused({"model", "show", "deepseek-v3", "--training", "--precision", "fp4"}),
            "--precision: 'fp4' is not bf16 or fp8\n");
}

class ModelTraining : public Refusal {
 protected:
  nlohmann::json shown(std::vector<std::string> more) {
    std::vector<std::string> arguments = {"model", "show", "deepseek-v3", "--training", "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const CommandResult result = simulate(folder_, arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return nlohmann::json::parse(result.out);
  }
};

TEST_F(ModelTraining, RecomputingRunsMoreAndKeepsLess) {
  const nlohmann::json all = shown({});
  EXPECT_EQ(all.at("precision"), "fp8");  // as its weights are stored
  const nlohmann::json& routed = all.at("layers")[1];
  EXPECT_EQ(routed.at("first_layer"), 3);
  EXPECT_EQ(routed.at("last_layer"), 60);
  EXPECT_EQ(routed.at("recompute_flops"), 0);
  EXPECT_EQ(routed.at("routed_rows"), 8 * 4096);
  const nlohmann::json some = shown({"--recompute", "norms,mla_up"}).at("layers")[1];
  EXPECT_GT(some.at("recompute_flops").get<double>(), 0);
  EXPECT_LT(some.at("kept_bytes").get<double>(), routed.at("kept_bytes").get<double>());
  const nlohmann::json full = shown({"--recompute", "full"}).at("layers")[1];
  EXPECT_EQ(full.at("recompute_flops"), full.at("forward_flops"));
  EXPECT_EQ(full.at("kept_bytes"), 4096 * 7168 * 2);  // the layer's input
  EXPECT_EQ(full.at("kept_bytes_per_routed_row"), 0);
}

}  // namespace
}  // namespace sim::testing
