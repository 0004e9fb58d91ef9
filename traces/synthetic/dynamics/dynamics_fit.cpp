#include "traces/synthetic/dynamics/dynamics_fit.h"

#include <algorithm>
#include <cmath>

#include "sim/core/random.h"

namespace sim {
namespace {

constexpr double kSoft = 0.1;
constexpr double kLeastDropped = 0.02;
// The Switch term's value is compared by what it is above a little less than 1, its least, and
// counts less: the choices are what is asked for.
constexpr double kSwitchFloor = 0.95, kSwitchWeight = 0.75, kSwitchLeniency = 3;
constexpr double kMoved = 0.4;  // chance of a constant to be moved in a trial
constexpr double kFirstMove = 0.6, kLeastMove = 0.04, kMostMove = 0.8;  // of logarithms or logits

double soft(double error) { return std::sqrt(1 + error * error / (kSoft * kSoft)) - 1; }

double moved(const DynamicsConstant& constant, double value, double move) {
  if (constant.most < 1) {  // a share: its odds move
    value = 1 / (1 + (1 - value) / value * std::exp(-move));
  } else {
    value *= std::exp(move);
  }
  return std::clamp(value, constant.least, constant.most);
}

}  // namespace

bool fitting_run(const RecordedRun& run) {
  const std::string family = run.family();
  return run.run.seed <= 2 && (family == "small-k2-none" || family == "small-k2-switch0.003" ||
                               family == "small-k2-switch0.03");
}

double dynamics_loss(const DynamicsConstants& constants, std::span<const RecordedRun> runs,
                     int seeds) {
  double sum = 0;
  double weights = 0;
  std::string family;
  TrainingCurve expected;
  for (const RecordedRun& recorded : runs) {
    if (recorded.family() != family) {
      TrainingRun run = recorded.run;
      run.seed = 1;
      expected = expected_curve(constants, run, seeds);
      family = recorded.family();
    }
    for (std::size_t w = 0; w < expected.imbalance.size(); ++w) {
      sum += soft(std::log(expected.imbalance[w] / recorded.curve.imbalance[w]));
      weights += 1;
    }
    for (std::size_t w = 0; w < recorded.curve.switch_value.size(); ++w) {
      const double above = expected.switch_value[w] - kSwitchFloor;
      const double real = recorded.curve.switch_value[w] - kSwitchFloor;
      sum += kSwitchWeight * soft(std::log(above / real) / kSwitchLeniency);
    }
    for (std::size_t f = 0; f < expected.dropped.size(); ++f) {
      const double real = recorded.curve.dropped[f];
      sum += 2 * soft((expected.dropped[f] - real) / std::max(kLeastDropped, real));
      weights += 2;
    }
  }
  return sum / weights;
}

DynamicsConstants fit_dynamics(const DynamicsConstants& start, std::span<const RecordedRun> runs,
                               int trials, int seeds,
                               const std::function<void(int trial, double loss)>& progress) {
  RandomStream random(1, "dynamics/fit");
  DynamicsConstants best = start;
  double least = dynamics_loss(best, runs, seeds);
  progress(0, least);
  double size = kFirstMove;
  int failed = 0;
  for (int trial = 1; trial <= trials; ++trial) {
    DynamicsConstants now = best;
    for (const DynamicsConstant& constant : dynamics_constants()) {
      if (random.uniform() >= kMoved) continue;
      now.*constant.value = moved(constant, now.*constant.value, size * random.normal());
    }
    const double loss = dynamics_loss(now, runs, seeds);
    if (loss < least) {
      least = loss;
      best = now;
      size = std::min(kMostMove, 1.3 * size);
      progress(trial, loss);
    } else if (++failed % 12 == 0) {
      size = std::max(kLeastMove, 0.8 * size);
    }
  }
  return best;
}

}  // namespace sim
