// The share of a cluster's tokens that choose each expert.
#pragma once

#include <span>

namespace sim {

// Tokens of a cluster choose the k experts of greatest score + noise, with Gumbel noise of scale
// `noise`: successive sampling with weights exp(score / noise). Writes P(chosen), sum k. Exact for
// k of 1 and 2; above, expert e is chosen with 1 - exp(-t w_e), arrivals of a race up to the time t
// at which k are expected (Poisson instead of fixed size: up to 0.02 off, most where one expert is
// near 1). REQUIRES: noise > 0, 0 < k <= experts, sizes are equal.
void cluster_choice(std::span<const double> scores, double noise, int k, std::span<double> chosen);

}  // namespace sim
