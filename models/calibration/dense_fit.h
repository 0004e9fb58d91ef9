// Runs a specification of GEMM, attention and streaming kernels: constants out of measured rows,
// and how far the form is from rows that the fit saw and from rows that it did not.
#pragma once

#include <string>
#include <vector>

#include "models/calibration/dense_spec.h"
#include "models/costs/kernel_constants.h"
#include "models/device.h"
#include "sim/input/fitting/error_summary.h"

namespace sim {

struct DenseEffort {
  std::size_t rows = 1000;      // that a kernel's constants are fitted to, at most
  std::size_t fold_rows = 400;  // that each fold's are
  bool held_out = true;
};

struct DenseCalibration {
  KernelConstants constants;     // rounded to three digits; label, provenance, fitted_to
  std::int64_t implausible = 0;  // rows left out
  ErrorSummary fitted;           // the rows that the constants saw
  ErrorSummary others;           // rows of the same kind that they did not see
  ErrorSummary held_out;  // folds by DenseKernelSpec::held_out, each predicted without itself
};

// The rows of the kernel's tables that its fit is about, plausible or not.
std::vector<const MeasuredKernel*> rows_about(const DenseKernelSpec& kernel,
                                              std::span<const MeasuredKernel> rows);

// Throws Error: no row, or fewer rows than free parameters.
DenseCalibration calibrate_dense(const DenseSpec& spec, const DenseKernelSpec& kernel,
                                 std::span<const MeasuredKernel> rows, const Device& device,
                                 const DenseEffort& effort = {});

// Predicted over measured, minus one, in the order of the rows. `host_s`: no measured call is
// shorter, because the host needs that long to launch it.
std::vector<PredictionError> dense_errors(const KernelConstants& constants, const Device& device,
                                          std::span<const MeasuredKernel* const> rows,
                                          double host_s = 0);

}  // namespace sim
