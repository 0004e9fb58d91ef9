// The subcommands, one file each: every one attaches itself to the command line.
#pragma once

#include <array>

namespace CLI {
class App;
}

namespace sim {

using AttachCommand = void(CLI::App& app);
AttachCommand attach_run, attach_check, attach_query, attach_list, attach_trace, attach_model,
    attach_cluster, attach_flows, attach_collective, attach_calibrate, attach_cost, attach_compare,
    attach_explain;

void attach_cluster_import(CLI::App& cluster);  // below `cluster`

inline constexpr auto kCommands = std::to_array<AttachCommand*>({
    &attach_run,
    &attach_check,
    &attach_explain,
    &attach_query,
    &attach_compare,
    &attach_list,
    &attach_trace,
    &attach_model,
    &attach_cluster,
    &attach_flows,
    &attach_collective,
    &attach_cost,
    &attach_calibrate,
});

}  // namespace sim
