// Real trainings whose routing was counted step by step: what the dynamics are fitted to and
// compared with.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "traces/synthetic/dynamics/training_curve.h"

namespace sim {

struct RecordedRun {
  std::string name;  // "small-k2-switch0.01-s1": size, top-k, term with coefficient, seed
  TrainingRun run;
  TrainingCurve curve;

  std::string family() const;  // the name without its seed
};

// A run by the name that traces/samples/training/train.py gives it; the length of a token's vector
// and the optimizer's schedule are those of that script. Experts, layers, tokens and steps are left
// to the counts. Throws Error when the name is none of its.
TrainingRun training_run_of(const std::string& name);

// Every NAME.counts.moetrace of a folder, in the order of the names. Throws Error: there is none,
// or one without steps.
std::vector<RecordedRun> read_recorded_runs(const std::string& folder);

// The Switch term's values of some runs, which counts do not show: run,window,switch_value (a CSV;
// windows of 20 steps). Runs that it does not name stay without; names of no run are passed over.
// Throws Error: a window that a run does not have, or one that is missing.
void add_switch_values(const std::string& csv, std::span<RecordedRun> runs);

}  // namespace sim
