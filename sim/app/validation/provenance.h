// What the constants of a run were fitted to, so that nobody counts as a prediction what the
// simulator was taught.
#pragma once

#include <set>
#include <span>
#include <string>
#include <vector>

#include "sim/app/scenario.h"
#include "sim/app/simulation.h"

namespace sim {

struct Provenance {
  std::set<std::string> fitted_to;  // compact ids of rows (sim/input/fitting/row_ids.h)
  std::set<std::string> sources;    // what constants, devices and links say of themselves in words
};

// Of every constant that the run's costs name, and of its devices and links.
void add_provenance(Provenance& into, const Scenario& scenario,
                    const std::vector<CostRecord>& costs);

// Whether a constant was fitted to row `id`, to a row of one of `tables`, or names one of them in
// its source. A table is named with or without the folder before it ("aic/aic_nccl_h100").
bool is_fitted(const Provenance& provenance, const std::string& id,
               std::span<const std::string> tables);

}  // namespace sim
