// On whose word a number rests.
#pragma once

#include <string_view>

namespace sim {

enum class CostLabel { kMeasured, kFitted, kPublished, kRoofline, kAssumed };
std::string_view to_text(CostLabel label);

}  // namespace sim
