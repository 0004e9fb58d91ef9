// Every dispatch algorithm and every collective, run: it ends, never before its bytes can have
// moved, and a late rank delays it by no more than its lateness.
#include <gtest/gtest.h>

#include "sim/policies/collectives/collective.h"
#include "sim/workloads/lone_question.h"
#include "tests/support/rail_cluster.h"

namespace sim {
namespace {

class AlgorithmsRun : public ::testing::Test {
 protected:
  AlgorithmsRun() : predictor_(cluster_, std::vector<const Device*>(8, &gpu_)) {
    for (int i = 0; i < 8; ++i) devices_.emplace_back(i);
  }
  template <class Question>
  void check(Question question, const std::string& what) {
    const LoneResult alone = predictor_.predict(question).run;
    EXPECT_GT(alone.time, Duration(0)) << what;
    EXPECT_GE(to_seconds(alone.time), alone.least_network_s * (1 - 1e-9)) << what;
    for (const int late : {0, 3, 7}) {
      const Duration lateness(40'000'000);
      question.arrivals.assign(8, Duration(0));
      question.arrivals[static_cast<std::size_t>(late)] = lateness;
      const LoneResult delayed = predictor_.predict(question).run;
      EXPECT_GE(delayed.time + Duration(1000), alone.time) << what;
      EXPECT_LE(delayed.time, alone.time + lateness + Duration(1000)) << what;
    }
  }

  static Device make_gpu() {
    Device device;
    device.name = "tiny";
    device.sms = 100;
    device.memory_bandwidth = Bandwidth(1e12);
    return device;
  }
  Device gpu_ = make_gpu();
  Cluster cluster_ = testing::rail_cluster(2, 4);
  LonePredictor predictor_;
  std::vector<DeviceId> devices_;
};

TEST_F(AlgorithmsRun, Exchanges) {
  for (const ExchangeAlgorithm& algorithm : kExchangeAlgorithms) {
    for (const Direction direction : {Direction::kDispatch, Direction::kCombine}) {
      ExchangeQuestion question;
      question.algorithm = &algorithm;
      question.direction = direction;
      question.devices = devices_;
      question.tokens = 64;
      question.hidden = 1024;
      question.experts = 16;
      question.top_k = 4;
      check(question, std::string(algorithm.name));
    }
  }
}

TEST_F(AlgorithmsRun, Collectives) {
  for (const CollectiveAlgorithm& algorithm : kCollectives) {
    if (algorithm.name == "nccl-nvls" || takes_pieces(algorithm.operation)) continue;
    CollectiveQuestion question;
    question.operation = algorithm.operation;
    question.algorithm = algorithm.name;
    question.devices = devices_;
    question.bytes = Bytes(1'000'000);
    check(question, question.operation + " " + question.algorithm);
  }
}

}  // namespace
}  // namespace sim
