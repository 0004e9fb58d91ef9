// simulate collective: times worked out by hand, the bandwidths that nccl-tests and DeepEP define,
// and what any network must obey.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "sim/app/collective_sweep.h"
#include "sim/app/collective_text.h"
#include "tests/support/run_command.h"

namespace sim {
namespace {

using nlohmann::json;
using testing::CommandResult;
using testing::simulate;
using testing::TempFolder;

// Two nodes of two GPUs, no latency and no constants: NVLink 100 GB/s, NIC 10 GB/s, one fat link
// per leaf, HBM 1 TB/s.
constexpr const char* kCluster = R"(source: made up
generator: hgx
device: gpu.yaml
gpus_per_node: 2
nodes: 2
nvlink: {bandwidth: 100 GB/s, latency: 0 s, label: assumed, source: made up}
nic: {bandwidth: 10 GB/s, latency: 0 s, label: assumed, source: made up}
fabric: {latency: 0 s, label: assumed, source: made up}
spraying: ideal
)";
constexpr const char* kGpu = R"(name: tiny
source: made up
sms: 100
peak: {bf16: 1 TFLOP/s, fp32: 1 TFLOP/s}
memory: {bandwidth: 1 TB/s, capacity: 80 GB}
efficiency: {compute: 1, memory: 1, label: assumed, source: made up}
)";

class CollectiveCommand : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_.write("tiny.yaml", kCluster);
    folder_.write("gpu.yaml", kGpu);
  }
  std::string output(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), "collective");
    const CommandResult result = simulate(folder_, arguments);
    EXPECT_EQ(result.exit_code, 0) << result.err;
    EXPECT_EQ(result.err, "");
    return result.out;
  }
  json rows(std::vector<std::string> arguments) const {
    arguments.emplace_back("--json");
    return json::parse(output(std::move(arguments)));
  }
  // On the cluster of round numbers.
  json tiny(const std::string& op, const std::string& algorithm,
            std::vector<std::string> more) const {
    more.insert(more.begin(),
                {"--cluster", "tiny.yaml", "--nodes", "2", "--op", op, "--algorithm", algorithm});
    return rows(std::move(more));
  }

  // On two nodes, or on one where the algorithm does not serve two (in-switch reduction).
  json served(const std::string& cluster, const std::string& op, const std::string& algorithm,
              const std::vector<std::string>& sizes) const {
    for (const char* nodes : {"2", "1"}) {
      std::vector<std::string> words = {"collective", "--cluster", cluster, "--nodes",
                                        nodes,        "--op",      op,      "--algorithm",
                                        algorithm,    "--json"};
      words.insert(words.end(), sizes.begin(), sizes.end());
      const CommandResult result = simulate(folder_, words);
      if (result.exit_code == 0) return json::parse(result.out);
      EXPECT_EQ(result.err.rfind("--algorithm: ", 0), 0U) << result.err;
    }
    // Only switches with constants are known to sum.
    if (algorithm == "nccl-nvls" && (cluster == "tiny.yaml" || op != "all-reduce"))
      return json::array();
    ADD_FAILURE() << op << " by " << algorithm << " serves nobody";
    return json::array();
  }

  TempFolder folder_;
};

const std::vector<std::string> kFourTokens = {"--tokens", "1000", "--hidden",  "1024",
                                              "--topk",   "4",    "--experts", "4"};

// 4 MB a rank, 1 MB for each: 2 MB leave through the NIC, 200 us.
TEST_F(CollectiveCommand, AllToAllByHand) {
  const json row = tiny("all-to-all", "nccl", {"--bytes", "4 MB"})[0];
  EXPECT_DOUBLE_EQ(row["time_s"], 200e-6);
  EXPECT_DOUBLE_EQ(row["algorithm_bandwidth_bytes_per_s"], 4e6 / 200e-6);
  EXPECT_DOUBLE_EQ(row["bus_bandwidth_bytes_per_s"], 3e6 / 200e-6);  // (g-1)/g of it
  EXPECT_EQ(row["count"], 500'000);                                  // bf16 elements for one rank
  EXPECT_EQ(row["transfers"], 16);
  EXPECT_DOUBLE_EQ(row["startup_s"], 0);
}

// Top-4 of 4 experts: every token goes to every rank, 2048 bytes in bf16. Per (token, expert) or
// per rank 2 x 1000 copies cross the NIC, once per node 1000.
TEST_F(CollectiveCommand, DispatchByHand) {
  const double copies = 1000 * 2048;
  const json direct = tiny("dispatch", "nvlink-one-sided", kFourTokens)[0];
  EXPECT_DOUBLE_EQ(direct["time_s"], 2 * copies / 10e9);
  const json back = tiny("combine", "nvlink-one-sided", kFourTokens)[0];
  EXPECT_DOUBLE_EQ(back["time_s"], 2 * copies / 10e9);
  const json normal = tiny("dispatch", "deepep-normal", kFourTokens)[0];
  EXPECT_DOUBLE_EQ(normal["time_s"], copies / 10e9);
}

// As DeepEP's tests count: low latency every selection with a header of 16 bytes; normal the nodes
// (2) and ranks (4) that a token goes to, its own included.
TEST_F(CollectiveCommand, DeepepDefinitions) {
  const json low = tiny("dispatch", "deepep-low-latency", kFourTokens)[0];
  EXPECT_EQ(low["bytes_per_copy"], 2048 + 16);
  const double low_time = low["time_s"];
  EXPECT_DOUBLE_EQ(low_time, 2.0 * 1000 * 2064 / 10e9);
  EXPECT_DOUBLE_EQ(low["algorithm_bandwidth_bytes_per_s"], 4.0 * 1000 * 2064 / low_time);
  const json normal = tiny("dispatch", "deepep-normal", kFourTokens)[0];
  const double normal_time = normal["time_s"];
  EXPECT_DOUBLE_EQ(normal["rdma_bandwidth_bytes_per_s"], 2.0 * 1000 * 2048 / normal_time);
  EXPECT_DOUBLE_EQ(normal["nvlink_bandwidth_bytes_per_s"], 4.0 * 1000 * 2048 / normal_time);
  EXPECT_EQ(normal["algorithm_bandwidth_bytes_per_s"], normal["rdma_bandwidth_bytes_per_s"]);
  std::vector<std::string> fp8 = kFourTokens;
  fp8.insert(fp8.end(), {"--dtype", "fp8"});
  EXPECT_EQ(tiny("dispatch", "deepep-low-latency", fp8)[0]["bytes_per_copy"], 1024 + 8 * 4 + 16);
  EXPECT_EQ(tiny("combine", "deepep-low-latency", fp8)[0]["bytes_per_copy"], 1024 + 8 * 4);
}

// All to all at once, every rank alike: both fidelities take the NIC's time.
TEST_F(CollectiveCommand, PortsAgreeWithFlowsWhereAllIsAlike) {
  for (const char* algorithm : {"nccl", "nvlink-one-sided", "deepep-normal"}) {
    std::vector<std::string> arguments = kFourTokens;
    const json flows = tiny("combine", algorithm, arguments)[0];
    arguments.insert(arguments.end(), {"--fidelity", "ports"});
    const json ports = tiny("combine", algorithm, arguments)[0];
    EXPECT_EQ(ports["fidelity"], "ports");
    EXPECT_NEAR(ports["time_s"].get<double>() / flows["time_s"].get<double>(), 1, 1e-6);
    EXPECT_EQ(ports["algorithm_bandwidth_bytes_per_s"].get<double>() /
                  flows["algorithm_bandwidth_bytes_per_s"].get<double>(),
              flows["time_s"].get<double>() / ports["time_s"].get<double>());
  }
}

TEST_F(CollectiveCommand, NcclBusFactors) {
  EXPECT_DOUBLE_EQ(bus_factor("all-reduce", 8), 1.75);
  EXPECT_DOUBLE_EQ(bus_factor("all-gather", 8), 0.875);
  EXPECT_DOUBLE_EQ(bus_factor("reduce-scatter", 8), 0.875);
  EXPECT_DOUBLE_EQ(bus_factor("all-to-all", 4), 0.75);
  EXPECT_DOUBLE_EQ(bus_factor("broadcast", 8), 1);
  EXPECT_DOUBLE_EQ(bus_factor("send-receive", 2), 1);
}

// Uniform top-8 of 256 experts over 8 nodes: a token touches 5.30 nodes and 7.68 ranks of 64 (the
// means without replacement); 3.98 nodes when only 4 groups of experts are open to it.
TEST_F(CollectiveCommand, TokensAreCountedAsTheyFall) {
  std::vector<std::string> arguments = {"--cluster", "hgx-h100", "--nodes",     "8",
                                        "--op",      "dispatch", "--algorithm", "deepep-normal",
                                        "--tokens",  "1024",     "--hidden",    "128",
                                        "--topk",    "8",        "--experts",   "256"};
  const json free = rows(arguments)[0]["copies_per_rank"];
  EXPECT_DOUBLE_EQ(free["selections"], 8 * 1024);
  EXPECT_NEAR(free["distinct_nodes"].get<double>() / 1024, 5.30, 0.02);
  EXPECT_NEAR(free["distinct_ranks"].get<double>() / 1024, 7.68, 0.02);
  arguments.insert(arguments.end(), {"--group-limit", "4"});
  const json limited = rows(arguments)[0]["copies_per_rank"];
  EXPECT_NEAR(limited["distinct_nodes"].get<double>() / 1024, 3.98, 0.02);
}

TEST_F(CollectiveCommand, SizesInEverySpelling) {
  const auto sizes = [&](const std::string& text) {
    std::vector<std::int64_t> result;
    for (const json& row : tiny("all-to-all", "nccl", {"--bytes", text}))
      result.push_back(row["size"]);
    return result;
  };
  EXPECT_EQ(sizes("4096,8M,1KiB,1 kB"), (std::vector<std::int64_t>{4096, 8 << 20, 1024, 1000}));
  EXPECT_EQ(sizes("8:100:2"), (std::vector<std::int64_t>{8, 16, 32, 64}));
  EXPECT_EQ(sizes("1K:2K:1.5,7"), (std::vector<std::int64_t>{1024, 1536, 7}));
  EXPECT_EQ(sizes("1:4:1.1"), (std::vector<std::int64_t>{1, 2, 3, 4}));
}

TEST_F(CollectiveCommand, EveryRowHasTheColumnsThatToolsRead) {
  for (const std::string& op : sweep_operations()) {
    for (const std::string& algorithm : sweep_algorithms(op)) {
      const bool tokens = op == "dispatch" || op == "combine";
      const json all = served("tiny.yaml", op, algorithm,
                              tokens ? kFourTokens : std::vector<std::string>{"--bytes", "1M,64M"});
      if (algorithm == "nccl-nvls" && all.empty()) continue;
      ASSERT_EQ(all.size(), tokens ? 1U : 2U) << op << " " << algorithm;
      for (const json& row : all) {
        EXPECT_EQ(row["op"], op);
        EXPECT_EQ(row["algorithm"], algorithm);
        EXPECT_EQ(row["ranks"], 2 * row["nodes"].get<int>());
        EXPECT_EQ(row["size_unit"], tokens ? "tokens" : "bytes");
        EXPECT_GT(row["size"], 0);
        EXPECT_GT(row["time_s"], 0);
        EXPECT_GE(row["slowest_rank_s"], row["time_s"]);
        EXPECT_GT(row["algorithm_bandwidth_bytes_per_s"], 0);
        EXPECT_GT(row["bus_bandwidth_bytes_per_s"], 0);
        EXPECT_EQ(row["label"], "assumed");
      }
    }
  }
}

// More bytes are never faster, unless the constants change with the size (NCCL's protocols).
TEST_F(CollectiveCommand, MoreBytesTakeLonger) {
  for (const std::string& op : sweep_operations()) {
    if (op == "dispatch" || op == "combine") continue;
    for (const std::string& algorithm : sweep_algorithms(op)) {
      double last = 0;
      std::string constants;
      for (const json& row : served("hgx-h100", op, algorithm, {"--bytes", "1:4G:8"})) {
        const double time = row["time_s"];
        if (row["source"] == constants) {
          EXPECT_GE(time, last) << op << " " << algorithm << " " << row["size"];
        }
        last = time;
        constants = row["source"];
      }
    }
  }
  double last = 0;
  for (const json& row : rows({"--cluster", "hgx-h100", "--nodes", "2", "--op", "dispatch",
                               "--algorithm", "deepep-low-latency", "--tokens", "1:256:2",
                               "--hidden", "7168", "--topk", "8", "--experts", "256"})) {
    EXPECT_GT(row["time_s"], last);
    last = row["time_s"];
  }
}

// The NIC of 10 GB/s and NVLink of 100 GB/s bound every algorithm: of 4 ranks on 2 nodes, two ranks
// of a node share 2 NICs, so what must leave a node of the buffer of 64 MB takes its time at 20
// GB/s.
TEST_F(CollectiveCommand, NothingBeatsTheCutBetweenTheNodes) {
  const double bytes = 64e6;
  const std::map<std::string, double> leaves_a_node = {
      {"all-to-all", 2 * bytes / 2},  // of both ranks' buffers the half for the other node
      {"all-gather", bytes / 2},      // the half that the node has
      {"reduce-scatter", bytes / 2},  // partial sums of the half that the other node keeps
      {"all-reduce", bytes / 2 * 2},  // both of these
      {"broadcast", bytes},           // the whole buffer, from the root's node
      {"send-receive", bytes}};       // of the last rank of the node
  for (const auto& [op, out] : leaves_a_node) {
    for (const std::string& algorithm : sweep_algorithms(op)) {
      const json all = served("tiny.yaml", op, algorithm, {"--bytes", "64 MB"});
      if (all.empty()) continue;
      const json& row = all[0];
      if (row["nodes"] != 2) continue;
      EXPECT_GE(row["time_s"].get<double>(), out / 20e9 * (1 - 1e-9)) << op << " " << algorithm;
    }
  }
}

TEST_F(CollectiveCommand, TheSameCommandPrintsTheSameBytes) {
  const std::vector<std::string> arguments = {
      "--cluster", "hgx-h100", "--nodes",     "2",
      "--op",      "combine",  "--algorithm", "deepep-normal",
      "--tokens",  "33,333",   "--hidden",    "512",
      "--topk",    "3",        "--experts",   "30",
      "--ranks",   "6",        "--zipf",      "0.8",
      "--seed",    "5",        "--detail"};
  EXPECT_EQ(output(arguments), output(arguments));
  std::vector<std::string> other = arguments;
  *(std::find(other.begin(), other.end(), "--seed") + 1) = "6";
  EXPECT_NE(output(arguments), output(other));
}

TEST_F(CollectiveCommand, PrintsATable) {
  EXPECT_EQ(output({"--cluster", "tiny.yaml", "--nodes", "2", "--op", "all-to-all", "--algorithm",
                    "nccl", "--bytes", "4 MB", "--detail"}),
            R"(all-to-all by nccl: 4 x gpu.yaml on 2 nodes of tiny
  size       bytes that a rank sends, its own share included
  time       mean over ranks, from reaching the operation to its end
  bandwidth  algbw is size over time, busbw is algbw x 0.75 (nccl-tests)
  constants  assumed: the cluster has no constants for this algorithm: line rate and link latency

 size B   count  type  time us  algbw GB/s  busbw GB/s  start-up us  network us  sharing us  transfers  busiest link       GB/s on it
4000000  500000  bf16   200.00       20.00       15.00         0.00      200.00        0.00         16  node0/gpu0/nic-up       10.00
)");
}

}  // namespace
}  // namespace sim
