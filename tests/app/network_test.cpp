// `network.fidelity` through the real command: what auto chooses, what ports record, what is
// refused.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/app/refusal.h"

namespace sim::testing {
namespace {

const std::string kTiny =
    "model: model.yaml\nworkload: {kind: decode, tokens_per_gpu: 8, context: 100}\n"
    "routing: {synthetic: {zipf: 0.8}}\n";

using Network = Refusal;

TEST_F(Network, PortsAreRefusedWithTheReason) {
  EXPECT_EQ(
      refused_scenario(kTiny + "cluster: {use: hgx-h100, nodes: 1}\n"
                               "communication: {dispatch: 2dh}\nnetwork: {fidelity: ports}\n"),
      "scenario.yaml:6:10: fidelity 'ports' cannot be: '2dh' moves its bytes in stages or "
      "ways of their own, which ports do not follow; defined for: nccl, deepep-low-latency, "
      "deepep-normal, nvlink-one-sided; use 'fidelity: flows'\n");
  EXPECT_EQ(
      refused_scenario(kTiny + "cluster: {use: pcie-box, boxes: 2, gpus: 4, device: h100-sxm, "
                               "pcie: {bandwidth: 50 GB/s, latency: 1 us}, "
                               "host_link: {bandwidth: 50 GB/s, latency: 1 us}, "
                               "nic: {bandwidth: 50 GB/s, latency: 1 us}}\n"
                               "network: {fidelity: ports}\n"),
      "scenario.yaml:5:10: fidelity 'ports' cannot be: cluster 'pcie-box' has no levels (GPU, "
      "scale-up domain, leaf, spine): the switches that GPUs hang on are not all joined by the "
      "same "
      "spines (node1/pcie0); use 'fidelity: flows'\n");
  EXPECT_EQ(refused_scenario(kTiny + "cluster: {use: hgx-h100, nodes: 1}\n"
                                     "network: {fidelity: packets}\n"),
            "scenario.yaml:5:21: 'packets' is not a possible 'fidelity' of network; possible: "
            "auto, flows, "
            "ports\n");
}

TEST_F(Network, AutoTakesPortsAboveItsLimitAndSaysSo) {
  folder_.write("s.yaml", kTiny + "cluster: {use: hgx-h100, nodes: 17}\n");
  const CommandResult check = simulate(folder_, {"check", "s.yaml"});
  ASSERT_EQ(check.exit_code, 0) << check.err;
  EXPECT_NE(check.out.find("network        ports, an approximation: its error is in "
                           "sim/policies/collectives/fidelity.md (auto: 136 ranks exchange, more "
                           "than 128)\n"),
            std::string::npos)
      << check.out;
  const CommandResult small = simulate(folder_, {"check", "s.yaml", "--set", "cluster.nodes=1"});
  EXPECT_NE(small.out.find("network        flows, exact max-min sharing (auto: at most 128 ranks "
                           "exchange)\n"),
            std::string::npos)
      << small.out;
}

// What a device sends to all others is known, to whom is not.
TEST_F(Network, PortsRecordTotalsPerDeviceThatAreThoseOfFlows) {
  folder_.write("s.yaml", kTiny + "cluster: {use: hgx-h100, nodes: 2}\n");
  std::string totals[2];
  double step_s[2] = {};
  const char* const fidelities[] = {"network.fidelity=flows", "network.fidelity=ports"};
  for (int i = 0; i < 2; ++i) {
    const std::string db = i == 0 ? "flows.db" : "ports.db";
    const CommandResult run =
        simulate(folder_, {"run", "s.yaml", "--results", db, "--json", "--set", fidelities[i]});
    ASSERT_EQ(run.exit_code, 0) << run.err;
    const auto json = nlohmann::json::parse(run.out);
    step_s[i] = json["metrics"]["step_time_s"];
    EXPECT_GE(json["metrics"]["exchange_over_bound"].get<double>(), 1);
    EXPECT_GT(json["metrics"]["exchange_bound_s"].get<double>(), 0);
    const std::string sql =
        "SELECT source_device, phase, sum(bytes) FROM traffic WHERE source_device >= 0 AND "
        "source_device <> destination_device GROUP BY 1, 2 ORDER BY 1, 2";
    totals[i] = simulate(folder_, {"query", db, sql}).out;
  }
  EXPECT_EQ(totals[0], totals[1]);
  EXPECT_GT(totals[0].size(), 100U);
  EXPECT_NEAR(step_s[1] / step_s[0], 1, 0.02);
}

}  // namespace
}  // namespace sim::testing
