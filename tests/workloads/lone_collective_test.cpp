// One operation alone, with round numbers: two nodes of two GPUs, NVLink 100 GB/s and 100 ns a
// link, a NIC of 10 GB/s and 1 us each, a fabric of 20 GB/s and 0.5 us.
#include "sim/workloads/lone_collective.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "sim/core/error.h"
#include "sim/workloads/lone_question.h"
#include "tests/support/rail_cluster.h"

namespace sim {
namespace {

using ::testing::ElementsAre;
using testing::rail_cluster;

constexpr Duration us(double value) { return Duration(static_cast<std::int64_t>(value * 1e6)); }

Device tiny_gpu() {
  Device device;
  device.name = "tiny";
  device.sms = 4;
  device.memory_bandwidth = Bandwidth(200e9);
  return device;
}

class LoneTest : public ::testing::Test {
 protected:
  explicit LoneTest(Cluster given = rail_cluster(2, 2))
      : cluster_(std::move(given)),
        predictor_(cluster_, std::vector<const Device*>(cluster_.devices.size(), &gpu_)) {}

  CollectiveQuestion all_to_all(std::int64_t bytes) const {
    CollectiveQuestion question;
    question.operation = "all-to-all";
    question.algorithm = "nccl";
    question.devices = spread_ranks(cluster_, 2, 4);
    question.bytes = Bytes(bytes);
    return question;
  }
  ExchangeQuestion dispatch(const char* algorithm, std::int64_t tokens) const {
    ExchangeQuestion question;
    question.algorithm = &find_exchange_algorithm(algorithm);
    question.devices = spread_ranks(cluster_, 2, 4);
    question.tokens = tokens;
    question.hidden = 1000;
    question.experts = 4;
    question.top_k = 4;
    return question;
  }
  double bytes_on(const LoneResult& run, const std::string& name) const {
    for (std::size_t l = 0; l < cluster_.links.size(); ++l) {
      if (cluster_.links[l].name == name) return run.link_bytes[l];
    }
    ADD_FAILURE() << "no link " << name;
    return 0;
  }

  Device gpu_ = tiny_gpu();
  Cluster cluster_;
  LonePredictor predictor_;
};

// Every rank sends 1 MB to each of the four. NIC: 2 MB at 10 GB/s = 200 us, of which one part goes
// over the fabric; the last of it, cross-rail, starts after 1 + 0.5 + 0.5 + 1 = 3 us. Both shares
// of a NIC run from 3 us on at 5 GB/s each; the same-rail one started after 2 us and had the NIC
// for 1 us alone (10 kB).
TEST_F(LoneTest, AllToAllByHand) {
  const CollectiveAnswer answer = predictor_.predict(all_to_all(4'000'000));
  EXPECT_EQ(answer.run.time, us(202));  // 2 us of latency, then the NIC is busy for 200 us
  EXPECT_THAT(answer.run.end, ElementsAre(us(202), us(202), us(202), us(202)));
  EXPECT_THAT(answer.run.begin, ElementsAre(us(0), us(0), us(0), us(0)));
  EXPECT_DOUBLE_EQ(answer.run.mean_s, 202e-6);
  EXPECT_EQ(answer.run.transfers, 16U);
  EXPECT_EQ(bytes_on(answer.run, "n0/gpu0/nic-up"), 2e6);
  EXPECT_EQ(bytes_on(answer.run, "n0/gpu0/nvlink-up"), 1e6);
  EXPECT_DOUBLE_EQ(answer.run.busiest_link_s, 200e-6);
  EXPECT_DOUBLE_EQ(answer.run.least_network_s, 200e-6);
  EXPECT_EQ(answer.label, "assumed");
}

// Two rings, one per NIC: every rank passes 3/4 of 4 MB on, half of it in each. A NIC has 1.5 MB to
// send, after the latency of three hops: two of 2 us between nodes and one of 0.2 us inside.
TEST_F(LoneTest, AllGatherByHand) {
  CollectiveQuestion question = all_to_all(4'000'000);
  question.operation = "all-gather";
  question.algorithm = "nccl-ring";
  const CollectiveAnswer answer = predictor_.predict(question);
  EXPECT_EQ(answer.run.time, us(154.2));
  EXPECT_EQ(bytes_on(answer.run, "n0/gpu1/nic-up"), 1.5e6);
  EXPECT_EQ(bytes_on(answer.run, "n0/gpu0/nic-up"), 1.5e6);
}

// Every token goes to every rank (top-4 of 4 experts), 2 kB a copy: 100 tokens are 200 kB to each.
TEST_F(LoneTest, DispatchByHand) {
  const ExchangeAnswer answer = predictor_.predict(dispatch("nvlink-one-sided", 100));
  EXPECT_EQ(answer.bytes_per_copy, Bytes(2000));
  EXPECT_EQ(answer.run.time, us(42));  // 2 us, then 400 kB through a NIC
  EXPECT_DOUBLE_EQ(answer.selections.value(), 400);
  EXPECT_DOUBLE_EQ(answer.rank_copies.value(), 400);
  EXPECT_DOUBLE_EQ(answer.node_copies.value(), 200);
  EXPECT_FALSE(answer.estimated);
}

// Once per node: 200 kB through a NIC after 2 us, and 0.2 us of forwarding.
TEST_F(LoneTest, DispatchOncePerNodeByHand) {
  const ExchangeAnswer answer = predictor_.predict([&] {
    ExchangeQuestion question = dispatch("deepep-normal", 100);
    question.communication_sms = 2;
    return question;
  }());
  EXPECT_EQ(answer.run.time, us(22.2));
  EXPECT_EQ(bytes_on(answer.run, "n0/gpu0/nic-up"), 200e3);
}

// gpu1 of node 0 comes 50 us late. Its NIC then has 200 us of work; in the first of them (from 52
// us) only the same-rail part has begun, at the 5 GB/s that its receiver shares: 0.5 us are lost.
TEST_F(LoneTest, OneRankLate) {
  CollectiveQuestion question = all_to_all(4'000'000);
  question.arrivals = {us(0), us(50), us(0), us(0)};
  const LoneResult late = predictor_.predict(question).run;
  EXPECT_EQ(late.begin[1], us(50));
  EXPECT_EQ(late.time, us(252.5));
  EXPECT_EQ(late.causes.arrival, us(50));
  const LoneCauses& causes = late.causes;
  EXPECT_EQ(causes.arrival + causes.startup + causes.network + causes.congestion, late.time);
}

TEST_F(LoneTest, AnAnswerDoesNotDependOnWhatWasAskedBefore) {
  const LoneResult first = predictor_.predict(dispatch("deepep-low-latency", 37)).run;
  predictor_.predict(all_to_all(123'457));
  ExchangeQuestion other = dispatch("deepep-low-latency", 38);
  other.top_k = 2;
  predictor_.predict(other);
  const LoneResult again = predictor_.predict(dispatch("deepep-low-latency", 37)).run;
  EXPECT_EQ(again.end, first.end);
  EXPECT_EQ(again.link_bytes, first.link_bytes);
}

TEST_F(LoneTest, RanksSpreadOverTheNodes) {
  const std::vector<DeviceId> two = spread_ranks(cluster_, 2, 2);
  EXPECT_THAT(two, ElementsAre(DeviceId(0), DeviceId(2)));
  EXPECT_THAT(nodes_of_ranks(cluster_, two), ElementsAre(0, 1));
  const auto refusal = [&](int nodes, int ranks) {
    try {
      spread_ranks(cluster_, nodes, ranks);
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(refusal(3, 4), "'rails' has 2 nodes, not 3");
  EXPECT_EQ(refusal(2, 5), "5 ranks: 2 nodes of 'rails' have 4 GPUs");
  EXPECT_EQ(refusal(2, 3),
            "3 ranks do not divide over 2 nodes of 'rails'; the same number runs on each node: a "
            "multiple of 2");
}

}  // namespace
}  // namespace sim
