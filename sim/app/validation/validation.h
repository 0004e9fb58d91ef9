// Runs what reproductions ask for and sets each published figure beside the simulated one.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "sim/app/validation/reproductions.h"

namespace sim {

enum class RowState {
  kDone,
  kNotRun,   // the row says why
  kSlow,     // only with `all`
  kEarlier,  // slow, with the result of an earlier run
  kRefused,  // the simulator refuses the scenario: a miss
};

struct ValidatedRow {
  const Reproduction* system = nullptr;
  const ReproductionRow* row = nullptr;
  RowState state = RowState::kNotRun;
  std::optional<double> simulated;  // kDone and kEarlier, as `error`
  std::optional<double> error;      // simulated / published - 1
  double tolerance = 0;
  bool fitted = false;
  bool pass = false;
  std::string reason;  // why it is missed, refused or not run
};

struct ValidationOptions {
  std::string only;                                      // a system or an id; empty: every row
  bool all = false;                                      // slow runs too
  std::function<void(const std::string& run)> progress;  // before each run
};

struct Validation {
  std::vector<ValidatedRow> rows;
  int runs = 0;                   // distinct scenarios that were run
  std::vector<Mistake> mistakes;  // reasons that stand beside a pass
};

// Every distinct scenario is run once. Throws Error when `only` names nothing, a scenario does not
// parse, or a value asks for what a run does not have. `reproductions` must outlive the result.
Validation validate(const Reproductions& reproductions, const ValidationOptions& options,
                    const Catalog& catalog);

}  // namespace sim
