// simulate trace synth --dynamics: a training's routing by the model of router dynamics.
#pragma once

#include <string>

#include "traces/synthetic/dynamics/training_run.h"

namespace sim {

// Writes the trace with the committed constants and says what it wrote.
void synth_dynamics(const TrainingRun& run, int ranks, const std::string& model,
                    const std::string& out);

}  // namespace sim
