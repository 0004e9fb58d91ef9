// Router dynamics: its pieces by hand, and what a balance term must do whatever the constants.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "tests/traces/temp_file.h"
#include "traces/gating/balance_terms.h"
#include "traces/statistics.h"
#include "traces/synthetic/dynamics/cluster_choice.h"
#include "traces/synthetic/dynamics/router_training.h"
#include "traces/synthetic/dynamics/write_dynamics.h"
#include "traces/synthetic/popularity.h"

namespace sim {
namespace {

using testing::error_text;
using testing::TempFile;

// Mean over layers of max / mean, mean over the steps from `from` on.
double imbalance_of(const DynamicsConstants& constants, const TrainingRun& run, int from = 0) {
  RouterTraining training(constants, run);
  double sum = 0;
  for (int step = 0; step < run.steps; ++step) {
    if (step > 0) training.advance();
    if (step < from) continue;
    for (int layer = 0; layer < run.layers; ++layer) {
      const std::span<const double> counts = training.counts(layer);
      const double total = std::accumulate(counts.begin(), counts.end(), 0.0);
      sum += *std::max_element(counts.begin(), counts.end()) * run.experts / total / run.layers;
    }
  }
  return sum / (run.steps - from);
}

TrainingRun short_run(DynamicsTerm term, double coefficient) {
  TrainingRun run;
  run.steps = 60;
  run.layers = 2;
  run.warmup_steps = 10;
  run.term = term;
  run.coefficient = coefficient;
  return run;
}

// Weights 3, 2, 1 are scores ln 3, ln 2, 0 with noise 1; by hand in synthetic_test.cpp.
TEST(RouterDynamics, ClustersChooseAsSuccessiveSamplingDoes) {
  const std::vector<double> scores = {std::log(3.0), std::log(2.0), 0};
  std::vector<double> chosen(3);
  cluster_choice(scores, 1, 2, chosen);
  EXPECT_NEAR(chosen[0], 0.85, 1e-12);
  EXPECT_NEAR(chosen[1], 11.0 / 15, 1e-12);
  EXPECT_NEAR(chosen[2], 5.0 / 12, 1e-12);
  cluster_choice(scores, 1, 1, chosen);
  EXPECT_NEAR(chosen[0], 0.5, 1e-12);
  cluster_choice(scores, 0.5, 1, chosen);  // half the noise squares the weights: 9 of 14
  EXPECT_NEAR(chosen[0], 9.0 / 14, 1e-12);
}

TEST(RouterDynamics, ManyChoicesAreNearSuccessiveSampling) {
  const std::vector<double> weights = zipf_weights(32, 1.0);
  std::vector<double> scores(32);
  std::vector<double> chosen(32);
  for (std::size_t e = 0; e < 32; ++e) scores[e] = std::log(weights[e]);
  for (const int k : {3, 4, 8, 31}) {
    cluster_choice(scores, 1, k, chosen);
    const std::vector<double> exact = inclusion_probabilities(weights, k);
    for (std::size_t e = 0; e < 32; ++e) EXPECT_NEAR(chosen[e], exact[e], 0.06) << k << " " << e;
    EXPECT_NEAR(std::accumulate(chosen.begin(), chosen.end(), 0.0), k, 1e-6);
  }
}

TEST(RouterDynamics, AScoreFarAboveAllIsChosenForSure) {
  for (const int k : {1, 2, 3}) {
    std::vector<double> chosen(4);
    cluster_choice(std::vector<double>{0, 1e6, 0, 0}, 1e-3, k, chosen);
    EXPECT_NEAR(chosen[1], 1, 1e-6) << k;
    EXPECT_NEAR(chosen[0], (k - 1) / 3.0, 1e-6) << k;
  }
}

// A router that stands still with probabilities 0.7 and 0.3, top-1, no noise to speak of, gamma
// 0.01: each step moves the two together by 0.02, so that they meet after (0.7 - 0.3) / 0.02 = 20
// steps, and not before; from then on the sign is 0.
TEST(RouterDynamics, LossFreeBiasBalancesAStillRouterAtItsRate) {
  std::vector<double> bias(2, 0);
  std::vector<double> chosen(2);
  std::vector<double> scores(2);
  for (int step = 0; step < 40; ++step) {
    scores = {std::log(0.7 + bias[0]), std::log(0.3 + bias[1])};
    if (std::abs(scores[0] - scores[1]) < 1e-9) scores[0] = scores[1];
    cluster_choice(scores, 1e-4, 1, chosen);
    if (step < 20) {
      EXPECT_NEAR(chosen[0], 1, 1e-9) << step;
    } else {
      EXPECT_EQ(chosen[0], 0.5) << step;
    }
    loss_free_update(bias, chosen, 0.01);
  }
  EXPECT_NEAR(bias[0], -0.2, 1e-12);
  EXPECT_NEAR(bias[1], 0.2, 1e-12);
}

TEST(RouterDynamics, CountsAreAllTheChoices) {
  RouterTraining training({}, short_run(DynamicsTerm::kNone, 0));
  for (int step = 0; step < 3; ++step) {
    for (int layer = 0; layer < 2; ++layer) {
      const std::span<const double> counts = training.counts(layer);
      EXPECT_NEAR(std::accumulate(counts.begin(), counts.end(), 0.0), 3072, 1e-6);
      for (int c = 0; c < RouterTraining::kClusters; ++c) {
        const std::span<const double> chosen = training.chosen(layer, c);
        EXPECT_NEAR(std::accumulate(chosen.begin(), chosen.end(), 0.0), 2, 1e-9);
      }
    }
    training.advance();
  }
}

// Adam's first step is the learning rate times the sign of the gradient, whatever its size: with a
// warm-up of 10 steps every entry of the router moves by rate * peak / 10, times hidden / features.
TEST(RouterDynamics, TheFirstStepIsTheLearningRate) {
  DynamicsConstants constants;
  constants.rate = 0.5;
  RouterTraining training(constants, short_run(DynamicsTerm::kSwitch, 0.01));
  const std::vector<double> before(training.router(1).begin(), training.router(1).end());
  training.advance();
  const double step = 0.5 * 2e-3 / 10 * 96 / RouterTraining::kFeatures;
  for (std::size_t i = 0; i < before.size(); ++i) {
    EXPECT_NEAR(std::abs(training.router(1)[i] - before[i]), step, 1e-6 * step) << i;
  }
}

// Even routing has a Switch term of 1; what the router likes it chooses, so it is above.
TEST(RouterDynamics, TheSwitchValueIsAtLeastThatOfEvenRouting) {
  RouterTraining training({}, short_run(DynamicsTerm::kNone, 0));
  for (int step = 0; step < 10; ++step) {
    EXPECT_GT(training.switch_value(0), 1);
    training.advance();
  }
}

TEST(RouterDynamics, ACoefficientOfZeroIsNoTerm) {
  const double none = imbalance_of({}, short_run(DynamicsTerm::kNone, 0));
  EXPECT_EQ(imbalance_of({}, short_run(DynamicsTerm::kSwitch, 0)), none);
}

TEST(RouterDynamics, MoreForceMeansLessImbalance) {
  const double none = imbalance_of({}, short_run(DynamicsTerm::kNone, 0), 30);
  double before = none;
  for (const double coefficient : {0.01, 0.1, 1.0}) {
    const double now = imbalance_of({}, short_run(DynamicsTerm::kSwitch, coefficient), 30);
    EXPECT_LT(now, before) << coefficient;
    before = now;
  }
  EXPECT_LT(before, 0.4 * none);
}

TEST(RouterDynamics, TheLossFreeBiasLowersImbalance) {
  const double none = imbalance_of({}, short_run(DynamicsTerm::kNone, 0), 40);
  EXPECT_LT(imbalance_of({}, short_run(DynamicsTerm::kBias, 0.03), 40), 0.8 * none);
}

TEST(RouterDynamics, TheSameSeedGivesTheSameBytes) {
  const TempFile a("a.moetrace");
  const TempFile b("b.moetrace");
  const TempFile c("c.moetrace");
  TrainingRun run = short_run(DynamicsTerm::kSwitch, 0.01);
  run.steps = 3;
  write_dynamics({}, run, 8, "m", a.path());
  write_dynamics({}, run, 8, "m", b.path());
  run.seed = 2;
  write_dynamics({}, run, 8, "m", c.path());
  EXPECT_EQ(a.read(), b.read());
  EXPECT_NE(a.read(), c.read());
}

// What is written as tokens has the loads that the clusters have.
TEST(RouterDynamics, TokensFollowTheClusters) {
  const TempFile file("run.moetrace");
  TrainingRun run = short_run(DynamicsTerm::kNone, 0);
  run.steps = 2;
  run.tokens_per_step = 1 << 15;
  write_dynamics({}, run, 4, "m", file.path());
  RouterTraining training({}, run);
  training.advance();
  int compared = 0;
  for (const LayerStatistics& row : layer_statistics(file.path(), StatisticsBy::kStep)) {
    EXPECT_EQ(row.tokens, run.tokens_per_step);
    if (*row.step != 1) continue;
    for (std::size_t e = 0; e < row.counts.size(); ++e, ++compared) {
      double expected = 0;
      for (int c = 0; c < RouterTraining::kClusters; ++c) {
        expected += training.cluster_shares()[static_cast<std::size_t>(c)] *
                    training.chosen(row.layer, c)[e] * static_cast<double>(run.tokens_per_step);
      }
      EXPECT_NEAR(static_cast<double>(row.counts[e]), expected, 5 * std::sqrt(expected + 1));
    }
  }
  EXPECT_EQ(compared, 2 * 16);
}

TEST(RouterDynamics, ARunThatCannotBeIsRefusedWithAllItsMistakes) {
  TrainingRun run;
  run.experts = 8;
  run.top_k = 9;
  run.steps = 0;
  run.coefficient = 0.1;
  EXPECT_EQ(error_text([&] { RouterTraining({}, run); }),
            "top-9 of 8 experts\n0 steps: 1 to 2^20\na coefficient of 0.1 without a balance term; "
            "term=switch or term=bias");
}

TEST(RouterDynamics, TheOptionSaysWhatIsTrained) {
  TrainingRun run;
  read_dynamics_option("term=bias,coefficient=0.001,hidden=64,warmup=3,learning_rate=1e-4", run);
  EXPECT_EQ(run.term, DynamicsTerm::kBias);
  EXPECT_EQ(run.coefficient, 0.001);
  EXPECT_EQ(run.hidden, 64);
  EXPECT_EQ(run.warmup_steps, 3);
  EXPECT_EQ(run.learning_rate, 1e-4);
  EXPECT_EQ(error_text([&] { read_dynamics_option("term=swich,coeficient=0.01", run); }),
            "--dynamics:1:8: 'swich' is not a possible 'term' of --dynamics; did you mean "
            "'switch'?\n--dynamics:1:14: unknown key 'coeficient' in --dynamics; did you mean "
            "'coefficient'?");
  EXPECT_NE(error_text([&] { read_dynamics_option("term=switch", run); }).find("'coefficient'"),
            std::string::npos);
}

}  // namespace
}  // namespace sim
