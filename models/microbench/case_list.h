// Which cases are run, and the vectors of rows per expert in them. Deterministic.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "models/microbench/kernel_case.h"

namespace sim::microbench {

// How tokens' choices spread over experts.
enum class Skew {
  kUniform,  // every expert as often as the others, remainders to the first
  kZipf,     // expert i in proportion to (i + 1)^-0.8, capped at one row per token
  kOneHot,   // expert 0 is chosen by every token, the others equally
  kEmpty,    // the upper half of the experts is never chosen, the others equally
};
inline constexpr Skew kSkews[] = {Skew::kUniform, Skew::kZipf, Skew::kOneHot, Skew::kEmpty};

// Adds up to tokens * top_k, none above tokens. Which expert is hot is shuffled by a fixed seed, so
// that the hottest is not always the first. REQUIRES: top_k <= experts, and for kEmpty top_k <=
// experts / 2 (else it is kUniform).
std::vector<std::int64_t> rows_per_expert(Skew skew, std::int64_t tokens, std::int64_t top_k,
                                          std::int64_t experts);

// Ceilings first, then the kernels of a layer, attention, copies and the whole layer.
std::vector<KernelCase> cpu_cases(bool quick);
std::vector<KernelCase> gpu_cases(bool quick);

}  // namespace sim::microbench
