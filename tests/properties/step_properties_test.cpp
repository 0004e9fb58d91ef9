// What holds for every step, whatever the scenario.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/properties/random_scenario.h"

namespace sim {
namespace {

using ::testing::IsEmpty;

constexpr std::uint64_t kScenarios = 120;

// Two ticks: one for rounding up, one for the order of floating-point sums.
constexpr Duration kRounding(2);

TEST(EveryScenario, WhatIsDispatchedComesBack) {
  for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
    SCOPED_TRACE(seed);
    testing::RandomScenario drawn(seed);
    const auto run = drawn.run();
    const ExchangeAlgorithm& algorithm = find_exchange_algorithm(drawn.scenario.algorithm);
    const std::int64_t there =
        bytes_per_copy(algorithm, Direction::kDispatch, 128, DType::kBf16).count();
    const std::int64_t back =
        bytes_per_copy(algorithm, Direction::kCombine, 128, DType::kBf16).count();
    EXPECT_EQ(run->dispatched.size(), run->combined.size());
    std::int64_t copies = 0, rows = 0, tokens = 0;
    for (const auto& [pair, bytes] : run->dispatched) {
      EXPECT_EQ(bytes % there, 0);
      EXPECT_EQ(run->combined[std::pair(pair.second, pair.first)], bytes / there * back);
      copies += bytes / there;
    }
    for (const LayerRouting& layer : drawn.scenario.routing) {
      rows += static_cast<std::int64_t>(layer.choices.size());
      tokens += layer.tokens();
    }
    if (algorithm.distinct_copies) {
      EXPECT_GE(copies, tokens);
      // A forwarded copy crosses two legs.
      EXPECT_LE(copies, drawn.scenario.algorithm == "deepep-normal" ? 2 * rows : rows);
    } else if (algorithm.built_of == "nccl" && drawn.scenario.algorithm != "pipe-a2a") {
      // In stages a row crosses several legs, or is gathered by a whole tensor-parallel group.
      EXPECT_GE(copies, rows);
      EXPECT_LE(copies, rows * std::max(3, 1 + drawn.scenario.parallel.tp.value_or(1)));
    } else {
      EXPECT_EQ(copies, rows);
    }
  }
}

TEST(EveryScenario, NoRowIsLost) {
  for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
    SCOPED_TRACE(seed);
    testing::RandomScenario drawn(seed);
    const auto run = drawn.run();
    const std::vector<RoutedBlockFacts>& blocks = run->steps[0].facts.blocks;
    ASSERT_EQ(blocks.size(), drawn.scenario.routing.size());
    for (std::size_t l = 0; l < blocks.size(); ++l) {
      const auto& counts = drawn.scenario.routing[l].counts;
      const auto all = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
      EXPECT_EQ(blocks[l].rows, all);
      EXPECT_EQ(std::accumulate(blocks[l].expert_rows.begin(), blocks[l].expert_rows.end(),
                                std::int64_t{0}),
                all);
      EXPECT_GE(blocks[l].imbalance_max_over_mean, 1);
    }
  }
}

TEST(EveryScenario, NoLinkCarriesMoreThanItCan) {
  for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
    SCOPED_TRACE(seed);
    testing::RandomScenario drawn(seed);
    const auto run = drawn.run();
    EXPECT_THAT(run->violations, IsEmpty());
    // The bytes of a link are there for no shorter than they take.
    for (std::size_t l = 0; l < run->link_payload.size(); ++l) {
      EXPECT_GE(to_seconds(run->step_time()) * (1 + 1e-9),
                run->link_payload[l] / drawn.scenario.cluster.links[l].capacity.count())
          << drawn.scenario.cluster.links[l].name;
    }
  }
}

TEST(EveryScenario, CausesAddUpToTheStepExactly) {
  for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
    SCOPED_TRACE(seed);
    testing::RandomScenario drawn(seed);
    drawn.scenario.workload.steps = 2;
    drawn.scenario.host.gap = Duration(300'000);
    const auto run = drawn.run();
    for (const StepResult& step : run->steps) {
      const auto sum = std::accumulate(step.causes.begin(), step.causes.end(), std::int64_t{0});
      EXPECT_EQ(Duration(sum), step.end - step.start);
      for (const std::int64_t ps : step.causes) EXPECT_GE(ps, 0);
    }
  }
}

TEST(EveryScenario, ADeviceIsBusyOrWaitsAtEveryInstant) {
  for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
    SCOPED_TRACE(seed);
    testing::RandomScenario drawn(seed);
    drawn.scenario.workload.steps = 2;
    const auto run = drawn.run();
    const Duration all = run->steps.back().end - run->steps.front().start;
    for (int d = 0; d < drawn.scenario.cluster.device_count(); ++d) {
      EXPECT_EQ(run->busy(d) + run->waited(d), all) << d;
    }
  }
}

TEST(EveryScenario, TwiceTheBandwidthIsNeverSlower) {
  for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
    SCOPED_TRACE(seed);
    testing::RandomScenario drawn(seed);
    const auto twice = [](PortFigure port) {
      port.bandwidth = Bandwidth(port.bandwidth.count() * 2);
      return port;
    };
    const Duration before = drawn.run()->step_time();
    testing::RailPorts nics = drawn.ports;
    nics.nic = twice(nics.nic);
    nics.fabric = twice(nics.fabric);
    EXPECT_LE(drawn.run_with(nics)->step_time(), before + kRounding);
    testing::RailPorts nvlink = drawn.ports;
    nvlink.nvlink = twice(nvlink.nvlink);
    EXPECT_LE(drawn.run_with(nvlink)->step_time(), before + kRounding);
    nics.nvlink = nvlink.nvlink;
    EXPECT_LE(drawn.run_with(nics)->step_time(), before + kRounding);
  }
}

TEST(EveryScenario, MoreStepsDoNotChangeTheFirst) {
  for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
    SCOPED_TRACE(seed);
    testing::RandomScenario drawn(seed);
    const auto one = drawn.run();
    drawn.scenario.workload.steps = 3;
    const auto three = drawn.run();
    ASSERT_EQ(three->steps.size(), 3u);
    EXPECT_EQ(three->steps[0].end, one->steps[0].end);
    EXPECT_EQ(three->steps[0].causes, one->steps[0].causes);
    // The same routing again, on idle devices: the same time.
    EXPECT_LE(abs(three->step_time(2) - one->step_time()), kRounding);
  }
}

TEST(EveryScenario, TwoRunsAreTheSameToTheTick) {
  for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
    SCOPED_TRACE(seed);
    testing::RandomScenario drawn(seed);
    const auto one = drawn.run();
    const auto other = drawn.run();
    ASSERT_EQ(one->tasks.size(), other->tasks.size());
    for (std::size_t i = 0; i < one->tasks.size(); ++i) {
      EXPECT_EQ(one->tasks[i].end, other->tasks[i].end);
      EXPECT_EQ(one->tasks[i].device, other->tasks[i].device);
    }
  }
}

TEST(EveryScenario, CountsMoveTheSameRowsAndAddUpToo) {
  for (std::uint64_t seed = 1; seed <= kScenarios; ++seed) {
    SCOPED_TRACE(seed);
    testing::RandomScenario drawn(seed);
    for (LayerRouting& layer : drawn.scenario.routing) {
      layer.per_token = false;
      layer.rank_begin.clear();
      layer.choice_begin.clear();
      layer.choices.clear();
    }
    drawn.scenario.workload.tokens_per_gpu = 3;
    const auto run = drawn.run();
    for (const StepResult& step : run->steps) {
      const auto sum = std::accumulate(step.causes.begin(), step.causes.end(), std::int64_t{0});
      EXPECT_EQ(Duration(sum), step.end - step.start);
      for (const RoutedBlockFacts& block : step.facts.blocks) EXPECT_TRUE(block.counts_only);
    }
    EXPECT_THAT(run->violations, IsEmpty());
    EXPECT_EQ(run->dispatched.size(), run->combined.size());
  }
}

}  // namespace
}  // namespace sim
