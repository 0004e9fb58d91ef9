// Fits the constants of the router dynamics to recorded trainings.
#pragma once

#include <functional>
#include <span>

#include "traces/synthetic/dynamics/recorded_run.h"

namespace sim {

// The trainings that the committed constants may see: two seeds of three coefficients. All others
// are predictions.
bool fitting_run(const RecordedRun& run);

// How far expected curves are from recorded ones: the mean of loss(e), e = log(expected / recorded)
// per window, and per capacity factor, with twice the weight, e = difference of dropped shares over
// the recorded share (at least 0.02); where the Switch term's value is known, it is added with a
// smaller weight: it says how sure the router is, which choices alone do not. loss(e) = sqrt(1 + (e
// / 0.1)^2) - 1: squares below 10 %, magnitudes above.
double dynamics_loss(const DynamicsConstants& constants, std::span<const RecordedRun> runs,
                     int seeds);

// A random search: each trial moves some of the constants, a better one is kept, and the moves
// shrink while none is better. The loss is not smooth (a maximum over experts), so no gradient.
// Deterministic. `progress` hears of every better trial.
DynamicsConstants fit_dynamics(const DynamicsConstants& start, std::span<const RecordedRun> runs,
                               int trials, int seeds,
                               const std::function<void(int trial, double loss)>& progress);

}  // namespace sim
