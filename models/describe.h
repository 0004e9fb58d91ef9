// A model in words: what `simulate model show` prints above the table of operators.
#pragma once

#include <string>

#include "models/moe_model.h"

namespace sim {

std::string describe(const MoeModel& model);

}  // namespace sim
