// Runs a specification: constants out of measured rows, and how far the closed form is from rows
// that the fit saw and from rows that it did not.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sim/input/fitting/error_summary.h"
#include "topologies/calibration/calibration_spec.h"

namespace sim {

// One set of constants: an entry of the catalog's `collectives` or `communication`.
struct FittedSet {
  std::vector<double> values;  // of the form, in the order of its parameters
  double from_bytes_per_rank = 0;
};

struct SplitErrors {
  std::string name;
  ErrorSummary fitted;
  ErrorSummary tested;
  ErrorSummary tested_decode;   // decode_like() rows
  ErrorSummary tested_prefill;  // the others
};

struct FitResult {
  const CalibrationFit* fit = nullptr;
  std::vector<FittedSet> sets;         // one, or one per protocol in rising size
  std::vector<std::string> fitted_to;  // compact ids
  SplitErrors kept;                    // of the constants above
  std::vector<SplitErrors> splits;
};

// Implausible rows are neither fitted nor tested. Throws Error: no row for a fit, or fewer rows
// than free parameters.
FitResult run_fit(const CalibrationSpec& spec, const CalibrationFit& fit,
                  std::span<const MeasuredRow> rows, const MachineRates& rates);

// One entry per set as YAML of the catalog: the entry's keys, the values rounded to three digits,
// label, source and `fitted_to`. `indent` spaces before every line.
std::string to_catalog_yaml(const CalibrationSpec& spec, const FitResult& result, int indent);

}  // namespace sim
