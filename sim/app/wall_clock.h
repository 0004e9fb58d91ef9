// The time of day, for what a run leaves behind; no part of the simulation looks at it.
#pragma once

#include <string>

namespace sim {

std::string utc_now();  // "2026-11-22T15:04:05Z"

}  // namespace sim
