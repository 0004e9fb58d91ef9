#include "sim/app/commands/trace_synth_gate.h"

#include <fmt/format.h>

#include <iostream>

#include "traces/gating/synth_gate.h"
#include "traces/statistics.h"

namespace sim {

void synth_gate_command(const GateTrace& trace, std::uint64_t seed, const std::string& out) {
  const GateTraceReport report = synth_gate(trace, seed, out);
  const TraceInfo info = read_info(out);
  std::cout << fmt::format("{}: {} rows, {} bytes ({:.2f} per choice)\n", out, info.rows,
                           info.file_bytes, info.bytes_per_choice);
  std::cout << fmt::format("choices    {:.2f} per row and layer\n", report.choices_per_row);
  std::cout << fmt::format(
      "imbalance  {:.2f} max/mean over experts in the first step, {:.2f} in the last\n",
      report.first_imbalance, report.last_imbalance);
  std::cout << fmt::format("gate       {:.0f} flops per token, layer and unit of hidden size\n",
                           2 * report.score_columns);
  if (report.capacity) {
    std::cout << fmt::format(
        "capacity   factor {} per source rank would drop {:.2f} % of the choices; the trace holds "
        "them all\n",
        report.capacity->factor,
        100.0 * static_cast<double>(report.dropped_choices) / static_cast<double>(report.choices));
  }
}

}  // namespace sim
