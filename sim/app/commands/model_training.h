// `simulate model show --training`: what a training step of a model computes, holds and keeps.
#pragma once

#include <cstdint>
#include <string>

#include "models/moe_model.h"

namespace sim {

struct TrainingQuestion {
  std::int64_t sequence_length = 4096;
  std::string precision;           // empty: the one that the model's own formats suggest
  std::string recompute = "none";  // none | full | module,module
  int tp = 1;
};

// To standard output. Throws Error for a precision or a module that does not exist.
void show_training(const MoeModel& model, const TrainingQuestion& question, bool json);

}  // namespace sim
