// Runs a specification of expert kernels: constants out of measured rows, and how far they are from
// rows that the fit saw and from rows that it did not.
#pragma once

#include <string>
#include <vector>

#include "models/calibration/expert_fit.h"
#include "models/calibration/expert_spec.h"
#include "models/device.h"
#include "sim/input/fitting/error_summary.h"

namespace sim {

struct ExpertSplit {
  std::string name;
  ErrorSummary tested;  // rows that this split's fit did not see
};

struct ExpertCalibration {
  KernelConstants constants;   // with corrections, label, provenance, fitted_to
  std::vector<double> fitted;  // the form's values as fitted, before `instead`
  std::int64_t rows = 0;       // of the tables: plausible
  std::int64_t implausible = 0;
  std::int64_t outliers = 0;        // never fitted; in the errors all the same
  std::size_t used = 0;             // rows that the constants were fitted to
  ErrorSummary kept;                // of the constants, without corrections, over the rows used
  std::vector<ExpertSplit> splits;  // random, shapes, skews
};

struct ExpertEffort {
  std::size_t rows = 800;  // of one kernel, at most
  int starts = 2;
  bool splits = true;
  bool outliers = true;
};

// `rows`: of the specification's tables. Throws Error: no row, or too few for the free parameters.
ExpertCalibration calibrate_experts(const ExpertSpec& spec, const ExpertKernelSpec& kernel,
                                    const std::vector<MeasuredKernel>& rows, const Device& device,
                                    const ExpertEffort& effort = {});

// An entry of the constants' YAML, with the errors of its splits as comments above it.
std::string to_text(const ExpertCalibration& result);

// The rows of every table that a specification names.
std::vector<MeasuredKernel> rows_of_tables(const ExpertSpec& spec, const std::string& data_folder);

// The rows that a kernel's fit is about: source, format, tables; plausible ones.
std::vector<const MeasuredKernel*> rows_about(const ExpertKernelSpec& kernel,
                                              const std::vector<MeasuredKernel>& rows);

// Where a fit begins: the form's `absent` values under the specification's fixed ones, and what may
// move: a parameter that the rows cannot tell (`remote` without remote rows) does not.
ExpertFitQuestion question_of(const ExpertKernelSpec& kernel, std::span<const CountedKernel> rows,
                              const DeviceRates& rates);

// ln(measured / form) of the balanced rows of a launch at every `step`-th token count, the last one
// too, for each launch that `wanted` passes.
std::vector<Correction> corrections_of(
    std::span<const MeasuredKernel* const> rows, const DeviceRates& rates,
    std::span<const double> values, std::size_t step,
    bool (*wanted)(const ExpertKernelSpec&, const MeasuredKernel&), const ExpertKernelSpec& kernel);

ErrorSummary errors_of(std::span<const CountedKernel> rows, std::span<const double> predicted);

}  // namespace sim
