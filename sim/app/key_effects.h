// Keys that a user wrote and that change nothing in this run: each one is a warning.
#pragma once

#include <string>
#include <vector>

#include "sim/app/scenario.h"

namespace sim {

// One line per key. REQUIRES: scenario.keys is filled. Also says when a format is not multiplied
// natively.
std::vector<std::string> keys_without_effect(const Scenario& scenario);

}  // namespace sim
