// What the synthetic source and the synthetic trace share: a checked spec and a layer's weights.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "traces/synthetic/synthetic.h"

namespace sim {

// Throws Error when the spec does not fit the layers.
void check_synthetic(const SyntheticSpec& spec, const std::vector<int>& experts, int top_k);
double exponent_of(const SyntheticSpec& spec);  // 0 for uniform
std::string describe(const SyntheticSpec& spec);
// ranked[i] is of the i-th most popular expert; which one that is, the layer's permutation says.
std::vector<double> permuted(const std::vector<double>& ranked, int layer, std::uint64_t seed);
std::vector<double> layer_weights(const SyntheticSpec& spec, int layer, int experts,
                                  std::uint64_t seed);

}  // namespace sim
