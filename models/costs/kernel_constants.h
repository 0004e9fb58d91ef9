// The constants of one kernel on one device: a form's values, on whose word, for which sizes.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "models/cost_label.h"
#include "models/costs/cost_form.h"
#include "models/kernel_format.h"

namespace sim {

// ln(measured / form) of one shape at rising sizes; between them it is interpolated, beyond them
// the nearest holds.
struct Correction {
  std::array<std::int64_t, CorrectionPoint::kShape> shape{};
  std::vector<double> log_size;
  std::vector<double> log_ratio;
};

struct KernelConstants {
  KernelFamily family = KernelFamily::kStreaming;
  std::string source;                  // who wrote the kernel: "vllm-triton", "deepgemm"
  std::vector<std::string> also;       // what tables and users call the same kernel
  KernelFormat format;                 // of matrix kernels and attention
  std::vector<std::string> operators;  // by name; empty: every operator of the family
  const CostForm* form = nullptr;
  std::vector<double> values;                    // of the form, SI units
  std::vector<std::pair<double, double>> range;  // of the form's extents: least and most fitted
  std::vector<Correction> corrections;           // sorted by shape
  std::vector<std::string> covers;  // operators that the kernel's time holds already ("activation")
  bool only_by_name = false;        // answers only who asks for its source
  CostLabel label = CostLabel::kAssumed;
  std::string provenance;              // of the numbers, with the error of the fit
  std::vector<std::string> fitted_to;  // compact ids (sim/input/fitting/row_ids.h)

  bool called(std::string_view name) const;  // by `source` or one of `also`
};

// The seconds and parts of a call; `in_range`: every extent lies inside the calibrated range. Out
// of it the form answers without corrections.
struct CalibratedParts {
  KernelParts parts;
  bool in_range = true;
};
// How far a call lies outside the calibrated range: the sum over the extents of |ln(extent /
// nearest bound)|; 0 inside, and where there is no range.
double distance_outside(const KernelConstants& constants, const KernelCall& call);

bool in_range(const KernelConstants& constants, const KernelCall& call);
CalibratedParts evaluate(const KernelConstants& constants, const KernelCall& call,
                         const DeviceRates& rates);

}  // namespace sim
