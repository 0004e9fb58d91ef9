// Shazeer's load: how many tokens an expert gets, smoothed by the gate's noise so that it has a
// gradient.
#pragma once

#include <span>
#include <vector>

#include "traces/gating/balance_terms.h"

namespace sim {

// d(CV^2)/d(x_e) with CV^2 = n sum x^2 / (sum x)^2 - 1. Zeros when the sum is 0.
std::vector<double> squared_cv_slopes(std::span<const double> x);

double load_value(const BalanceInput& in);
void load_force(const BalanceInput& in, double coefficient, std::span<double> out);

}  // namespace sim
