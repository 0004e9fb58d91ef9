// The neutral text format of raw flows over raw links, that other tools read too:
//
//   flowscenario 1
//   hosts H                       hosts are 0..H-1
//   links L                       before the link lines
//   link I CAPACITY LATENCY       bytes/s, seconds; one direction of one cable; I in 0..L-1
//   routes R
//   route SRC DST K L1 ... LK     links crossed, in order; one per ordered pair in use
//   flows F
//   flow SRC DST BYTES START      whole bytes, seconds; index = order of appearance
//
// White space separates words; '#' starts a comment where a keyword may stand.
#pragma once

#include <string>

#include "sim/workloads/flows/flow_set.h"

namespace sim {

// Throws Error with file and line for what is not a scenario: counts that do not fit the file,
// things named twice or not at all, numbers that are none, flows that would wait forever.
FlowSet read_flow_scenario(const std::string& file);

// One line "flow_index completion_time_s" per flow, in the fewest digits that read back the same.
// Throws Error when the file cannot be written.
void write_flow_times(const std::string& file, const std::vector<double>& finish_s);

}  // namespace sim
