// simulate trace synth --dynamics: a training's routing by the model of router dynamics.
#pragma once

#include <string>

#include "traces/synthetic/dynamics/training_run.h"

namespace sim {

// Adds "term=switch,coefficient=0.01,hidden=96,warmup=20,learning_rate=2e-3" to a run; what is
// left out is as in the trainings that the constants are fitted to. Throws Error, every mistake at
// once.
void read_dynamics_option(const std::string& text, TrainingRun& run);

// Writes the trace with the committed constants and says what it wrote.
void synth_dynamics(const TrainingRun& run, int ranks, const std::string& model,
                    const std::string& out);

}  // namespace sim
