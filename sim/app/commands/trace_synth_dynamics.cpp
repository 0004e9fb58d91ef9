#include "sim/app/commands/trace_synth_dynamics.h"

#include <fmt/format.h>

#include <iostream>

#include "sim/app/catalog.h"
#include "traces/statistics.h"
#include "traces/synthetic/dynamics/write_dynamics.h"

namespace sim {

void synth_dynamics(const TrainingRun& run, int ranks, const std::string& model,
                    const std::string& out) {
  const Catalog catalog;
  const DynamicsConstants constants =
      read_dynamics_constants(catalog.root() + "/traces/synthetic/dynamics/constants.yaml");
  write_dynamics(constants, run, ranks, model, out);
  const TraceInfo info = read_info(out);
  std::cout << fmt::format("{}: {} tokens, {} bytes ({:.2f} per choice)\n", out, info.rows,
                           info.file_bytes, info.bytes_per_choice);
}

}  // namespace sim
