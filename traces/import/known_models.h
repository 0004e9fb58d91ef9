// Models whose published traces do not say how many experts they have.
#pragma once

#include <string_view>

#include "traces/import/import.h"

namespace sim {

struct KnownModel {
  std::string_view name;  // as it is found in a path, or given with --model
  int experts = 0;        // routed experts per layer
  int top_k = 0;
};

// By options.model, else by the longest name that the path contains (lower case); null when none.
const KnownModel* known_model(const ImportJob& job);
// options.model, else the known model's name, else `fallback`.
std::string model_name(const ImportJob& job, std::string_view fallback);
// options.experts / top_k, else the known model's. Throws Error with the known models.
int expert_count(const ImportJob& job);
int top_k(const ImportJob& job);

}  // namespace sim
