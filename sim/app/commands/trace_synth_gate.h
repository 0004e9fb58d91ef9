// simulate trace synth --gate: a trace by a routing function.
#pragma once

#include <cstdint>
#include <string>

namespace sim {

struct GateTrace;

// Writes the trace and prints what it holds.
void synth_gate_command(const GateTrace& trace, std::uint64_t seed, const std::string& out);

}  // namespace sim
