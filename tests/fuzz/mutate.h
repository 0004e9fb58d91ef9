// Deterministic mutations of seeds, for the replay in ctest: bits, bytes, numbers, pieces of other
// seeds. libFuzzer has better ones; these cost no compiler.
#pragma once

#include <string>
#include <vector>

#include "sim/core/random.h"

namespace sim::fuzz {

// A mutated copy of one of `seeds`. REQUIRES: there is one.
std::string mutated(const std::vector<std::string>& seeds, RandomStream& random);

}  // namespace sim::fuzz
