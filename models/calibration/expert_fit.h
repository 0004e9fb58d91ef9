// Fits the grouped GEMM form to measured expert layers of one kernel on one device.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "models/calibration/expert_rows.h"
#include "models/costs/cost_form.h"

namespace sim {

struct ExpertFitQuestion {
  std::span<const CountedKernel> rows;
  DeviceRates rates;
  std::vector<std::string> free;     // parameters that move
  std::vector<double> values;        // of the others, by parameter; where the free ones are ignored
  std::vector<TileRule> tile_rules;  // tried; empty: the one of `values`
  int starts = 3;
  bool from_values = false;  // the search begins at `values`, not at the form's own start
};

// Values rounded to three digits as the constants' YAML holds them. Throws Error: fewer rows than
// free parameters.
struct ExpertFit {
  std::vector<double> values;
  double loss = 0;
};
ExpertFit fit_experts(const ExpertFitQuestion& question);

// The tile rules that kernels are known to have; a fit tries them all.
std::vector<TileRule> known_tile_rules();

// Seconds of every row: the mean over its draws.
std::vector<double> predict_experts(std::span<const CountedKernel> rows, const DeviceRates& rates,
                                    std::span<const double> values);

// Rows whose residual (against `values`, on balanced rows of the same size) stands away from its
// neighbours of the same launch and distribution: by more than 30 %, and by more than six robust
// deviations of the whole group. Indices into `rows`, rising.
std::vector<std::size_t> outliers(std::span<const MeasuredKernel* const> rows,
                                  const DeviceRates& rates, std::span<const double> values);

}  // namespace sim
