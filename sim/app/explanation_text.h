// An explanation for people, on one screen, and as JSON.
#pragma once

#include <cstddef>
#include <string>

#include "sim/app/explanation.h"

namespace sim {

// `top`: how many causes, experts and links are shown; what is cut is summed or counted.
std::string explanation_text(const Scenario& scenario, const Explanation& explanation,
                             std::size_t top);
std::string explanation_json(const Scenario& scenario, const Explanation& explanation);

}  // namespace sim
