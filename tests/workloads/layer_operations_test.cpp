#include "sim/workloads/layer_operations.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "sim/workloads/kinds.h"
#include "sim/workloads/layer_search.h"
#include "sim/workloads/linear_costs.h"

namespace sim {
namespace {

constexpr double kMs = 1e-3;

// Times per chunk in milliseconds, alike in both passes; nothing but the routed part.
struct ChunkTimes {
  double exchange;
  double gather;
  double experts;
  double scatter;
  double gradient = 0;  // whole
};

LayerOperations operations_of(const ChunkTimes& times) {
  LayerOperations operations;
  const auto set = [&](LayerOperation operation, double ms) {
    operations.forward[static_cast<std::size_t>(operation)] = {ms * kMs, 0};
    operations.backward[static_cast<std::size_t>(operation)] = {ms * kMs, 0};
  };
  set(LayerOperation::kDispatch, times.exchange);
  set(LayerOperation::kCombine, times.exchange);
  set(LayerOperation::kGather, times.gather);
  set(LayerOperation::kScatter, times.scatter);
  set(LayerOperation::kExperts, times.experts);
  set(LayerOperation::kGradient, times.gradient);
  return operations;
}

double forward_ms(std::string_view policy, const ChunkTimes& times, int degree) {
  const LayerSchedule schedule =
      make_layer_schedule(find_layer_policy(policy), degree, degree, 1, {});
  return to_seconds(run_layers(operations_of(times), schedule).forward) / kMs;
}

// FSMoE, section 4: the closed forms of its four cases are what the engine comes to.
TEST(LayerOperations, ComputeBoundIsCase2) {
  for (const int r : {1, 2, 5})
    EXPECT_NEAR(forward_ms("fsmoe", {5, 3, 20, 2}, r), 2 * 5 + 3 + 2 + r * 20, 1e-9);
}

TEST(LayerOperations, IntraNodeBoundIsCase4) {
  for (const int r : {2, 3, 6})
    EXPECT_NEAR(forward_ms("fsmoe", {1, 10, 2, 10}, r), 2 * 1 + r * (10 + 10), 1e-9);
}

// Two layers: the gradient of the model's last one fills the first one's window, its own comes
// last.
TEST(LayerOperations, InterNodeBoundWithAGradientIsCase1) {
  const ChunkTimes times{10, 3, 5, 3, 30};
  const int r = 2;
  const LayerSchedule schedule =
      make_layer_schedule(find_layer_policy("fsmoe"), r, r, 2, {{}, {{1.0}, 0}});
  const LayersRun run = run_layers(operations_of(times), schedule);
  const double without_gradient = forward_ms("fsmoe", times, r);
  const double case_1 = 2 * r * 10 + 30;
  EXPECT_NEAR(to_seconds(run.total) / kMs, 3 * without_gradient + case_1 + 30, 1e-9);
}

// The links between nodes wait for the last gather and the first scatter: the stream inside nodes
// runs all gathers first.
TEST(LayerOperations, ExchangeBoundIsCase3) {
  for (const int r : {2, 3, 8})
    EXPECT_NEAR(forward_ms("fsmoe", {10, 4, 5, 3}, r), 2 * r * 10 + 4 + 3, 1e-9);
}

// PipeMoE: without gather and scatter, 2 a2a + r exp where compute bound, else 2 r a2a.
TEST(LayerOperations, OneCommunicationStreamIsPipeMoE) {
  EXPECT_NEAR(forward_ms("tutel", {2, 0, 7, 0}, 4), 2 * 2 + 4 * 7, 1e-9);
  EXPECT_NEAR(forward_ms("tutel", {7, 0, 2, 0}, 4), 2 * 4 * 7, 1e-9);
  // Gather and scatter take the stream's time too: in turn with the exchanges.
  EXPECT_NEAR(forward_ms("tutel", {7, 3, 2, 4}, 4), 4 * (7 + 3 + 4 + 7), 1e-9);
}

TEST(LayerOperations, WithoutOverlapTimesAddUp) {
  EXPECT_NEAR(forward_ms("ds-moe", {7, 3, 2, 4}, 1), 7 + 3 + 2 + 4 + 7, 1e-9);
}

// Over the published layers: no resource is exceeded, nothing is slower than no overlap, and causes
// add up.
TEST(LayerOperations, TimesStayWithinTheirBounds) {
  for (const LinearCosts& costs : kPublishedCosts) {
    for (const int hidden : {1024, 4096}) {
      const LayerOperations operations =
          sim::operations_of(costs, {2, 1024, hidden, 3, 1.2, 2, hidden == 4096});
      const Duration serial =
          plan_layers(find_layer_policy("ds-moe"), operations, 4, std::nullopt).run.total;
      for (const LayerPolicy& policy : kLayerPolicies) {
        const PlannedLayers planned = plan_layers(policy, operations, 4, std::nullopt);
        EXPECT_LE(planned.run.total, serial) << policy.name;
        EXPECT_GE(planned.run.total, planned.run.compute) << policy.name;
        double inter_s = 0;
        for (const bool backward : {false, true}) {
          inter_s += 4 * (operations.of(LayerOperation::kDispatch, backward).whole_s() +
                          operations.of(LayerOperation::kCombine, backward).whole_s());
        }
        inter_s += 4 * operations.of(LayerOperation::kGradient, true).whole_s();
        EXPECT_GE(to_seconds(planned.run.total), inter_s) << policy.name;
        std::int64_t sum = 0;
        for (const std::int64_t each : planned.run.causes) sum += each;
        EXPECT_EQ(sum, planned.run.total.count()) << policy.name;
      }
    }
  }
}

// What a policy allows more can only help.
TEST(LayerOperations, MoreOverlapIsNotSlower) {
  for (const LinearCosts& costs : kPublishedCosts) {
    for (const int batch : {1, 4}) {
      const LayerOperations operations =
          sim::operations_of(costs, {batch, 1024, 2048, 4, 1.2, 2, false});
      const auto time = [&](std::string_view name) {
        return plan_layers(find_layer_policy(name), operations, 6, std::nullopt).run.total;
      };
      EXPECT_LE(time("tutel"), time("ds-moe"));
      EXPECT_LE(time("tutel-improved"), time("tutel"));
      EXPECT_LE(time("fsmoe-no-iio"), time("tutel-improved"));
      EXPECT_LE(time("fsmoe"), time("fsmoe-no-iio"));
    }
  }
}

TEST(LayerOperations, WholeGradientsAreReducedWhateverTheSlices) {
  for (const LayerPolicy& policy : kLayerPolicies) {
    const LayerSchedule schedule =
        make_layer_schedule(policy, 1, 1, 3, {{{0.4}, 0.2}, {{0.3, 0.3}, 0.9}, {{5.0}, 0.1}});
    std::vector<double> reduced(3, 0);
    const auto count = [&](const std::vector<Launch>& launches) {
      for (const Launch& launch : launches) {
        if (launch.operation == LayerOperation::kGradient)
          reduced[static_cast<std::size_t>(launch.of_layer)] += launch.share;
      }
    };
    for (const auto& layer : schedule.backward) count(layer);
    count(schedule.after);
    for (const double each : reduced) EXPECT_NEAR(each, 1, 1e-6) << policy.name;
  }
}

// Table 2 of FSMoE, the one row that its own figure 5 gives exactly: the all-reduce of GPT2-XL.
TEST(LinearCosts, TheAllReduceOfTable2ComesOutOfFigure5) {
  const LayerOperations operations =
      sim::operations_of(kPublishedCosts[0], {4, 1024, 1600, 4, 1.2, 2, false});
  EXPECT_NEAR(operations.of(LayerOperation::kGradient, true).whole_s() / kMs, 5.26, 0.005);
}

}  // namespace
}  // namespace sim
