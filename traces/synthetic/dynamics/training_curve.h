// What is compared of a training: imbalance over time, and choices dropped at capacity factors.
#pragma once

#include <array>
#include <span>
#include <vector>

#include "traces/synthetic/dynamics/dynamics_constants.h"
#include "traces/synthetic/dynamics/training_run.h"

namespace sim {

inline constexpr int kWindowSteps = 20;
inline constexpr std::array kCapacityFactors = {1.0, 1.25, 1.5, 2.0};

struct TrainingCurve {
  // max / mean of the choices per expert, mean over layers and over the steps of a window of 20; a
  // last window of fewer steps is left out.
  std::vector<double> imbalance;
  // The Switch term's value, mean as above; empty where it is not known.
  std::vector<double> switch_value;
  // Share of all choices above ceil(factor * choices / experts) of their expert, over all steps and
  // layers; one per factor.
  std::array<double, kCapacityFactors.size()> dropped = {};
};

// Adds up a curve from counts, step after step.
class CurveRecorder {
 public:
  void add(std::span<const double> counts);  // one layer of the current step
  void add_switch_value(double value);       // of one layer of the current step
  void end_step();
  TrainingCurve curve() const;

 private:
  int steps_ = 0;
  int layers_ = 0;
  double step_ = 0;  // sum over layers of max / mean in this step
  double window_ = 0;
  double switch_sum_ = 0;  // over layers and the steps of this window
  int switch_values_ = 0;
  std::vector<double> switch_value_;
  double choices_ = 0;
  std::array<double, kCapacityFactors.size()> dropped_ = {};
  std::vector<double> imbalance_;
};

// The mean curve of `seeds` trainings with seeds run.seed, run.seed + 1, ...: what the model
// expects of a training whose seed is not the model's. Throws Error when the run cannot be.
TrainingCurve expected_curve(const DynamicsConstants& constants, TrainingRun run, int seeds);

}  // namespace sim
