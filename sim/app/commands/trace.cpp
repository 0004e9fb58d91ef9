// simulate trace: make, import and look at routing traces.
#include "sim/app/commands/trace.h"

#include <CLI/CLI.hpp>

#include "sim/app/commands/commands.h"

namespace sim {

void attach_trace(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("trace", "routing traces: synth | import | info | stats | dynamics");
  command->require_subcommand(1);
  attach_trace_synth(*command);
  attach_trace_import(*command);
  attach_trace_info(*command);
  attach_trace_stats(*command);
  attach_trace_dynamics(*command);
}

}  // namespace sim
