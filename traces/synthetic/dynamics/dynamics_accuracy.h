// The router dynamics beside real trainings: errors of imbalance over time and of dropped choices,
// with two naive predictors and the difference of two real seeds beside them.
#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "traces/synthetic/dynamics/recorded_run.h"

namespace sim {

// What a prediction may be off, decided before the runs that were not fitted were looked at.
inline constexpr int kAccuracySeeds = 4;          // trainings of the model per family
inline constexpr double kImbalanceTarget = 0.15;  // mean relative error over windows
inline constexpr double kDroppedTarget = 0.20;    // relative
inline constexpr double kFewDropped = 0.01;       // a smaller real share: absolute difference below
                                                  // kDroppedTarget * kFewDropped

struct RunAccuracy {
  const RecordedRun* recorded = nullptr;
  bool fitted = false;
  TrainingCurve expected;
  double error = 0;                   // |expected / recorded - 1|, mean over windows
  double bias = 0;                    // expected / recorded - 1, likewise
  std::optional<double> other_seeds;  // the error of the same family's other real seeds' mean
  double mean_of_fitted = 0;          // the error of the mean curve of all fitted runs
  double last_coefficient = 0;        // of the fitted runs with the greatest coefficient not above
  std::array<bool, kCapacityFactors.size()> dropped_hit = {};
};

// Pairs of families of one shape that differ in the Switch coefficient only (0: no term), by the
// mean imbalance over a run: in how many the expected order is the recorded one.
struct OrderAccuracy {
  int pairs = 0;
  int right = 0;
  std::vector<std::string> wrong;  // "a < b" as recorded
};

struct DynamicsAccuracy {
  std::vector<RunAccuracy> runs;
  OrderAccuracy fitted_order;     // pairs of two families of which runs are fitted
  OrderAccuracy predicted_order;  // all others
};

// REQUIRES: some of the runs are fitted. `seeds`: trainings of the model per family.
DynamicsAccuracy measure_dynamics(const DynamicsConstants& constants,
                                  std::span<const RecordedRun> runs, int seeds);

// The tables of accuracy.md.
std::string dynamics_accuracy_markdown(const DynamicsAccuracy& accuracy);

// The mean over windows of |a / b - 1|. REQUIRES: as many windows.
double curve_error(const TrainingCurve& a, const TrainingCurve& b);

}  // namespace sim
