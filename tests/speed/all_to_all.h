// The all-to-all that the solver's speed is measured with: nodes of 8 GPUs, NVLink inside a node,
// one NIC per GPU on a rail-optimised, non-blocking leaf-spine, static ECMP by a hash of the pair.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/core/max_min_fair.h"

namespace sim::speed {

enum class Sizes {
  kUniform,  // all equal
  kSkew,     // Zipf(0.8) popularity of receivers times a log-normal factor: no two are equal
  kTokens,   // whole tokens of 7168 bytes drawn from the same Zipf law
};

struct AllToAll {
  struct Transfer {
    std::vector<ResourceUse> uses;
    std::int64_t bytes = 0;
  };
  std::vector<double> capacities;  // bytes/s
  std::vector<Transfer> transfers;
};

// Every GPU sends 4096 tokens x 8 experts x 7168 bytes in all. REQUIRES: `gpus` a multiple of 8.
AllToAll make_all_to_all(int gpus, Sizes sizes, std::uint64_t seed);

}  // namespace sim::speed
