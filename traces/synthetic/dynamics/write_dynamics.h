// A training's routing as a trace: tokens with steps and source ranks, so that a training workload
// can replay it.
#pragma once

#include <string>

#include "traces/synthetic/dynamics/dynamics_constants.h"
#include "traces/synthetic/dynamics/training_run.h"

namespace sim {

// run.tokens_per_step tokens a step, split evenly over `ranks`. A token keeps its cluster in all
// layers; its choices are drawn by the shares of its cluster, layer by layer. Choices before any
// capacity. Throws Error: the run cannot be, ranks do not divide the tokens, the file cannot be
// written.
void write_dynamics(const DynamicsConstants& constants, const TrainingRun& run, int ranks,
                    const std::string& model, const std::string& path);

}  // namespace sim
