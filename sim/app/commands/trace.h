// The subcommands of `simulate trace`, one file each.
#pragma once

namespace CLI {
class App;
}

namespace sim {

void attach_trace_synth(CLI::App& trace);
void attach_trace_import(CLI::App& trace);
void attach_trace_info(CLI::App& trace);
void attach_trace_stats(CLI::App& trace);
void attach_trace_dynamics(CLI::App& trace);

}  // namespace sim
