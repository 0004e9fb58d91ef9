// One case at both fidelities, and how far they are apart.
#pragma once

#include <string>
#include <vector>

#include "tests/fidelity/cases.h"

namespace sim::fidelity {

// Ends of every rank's parts, rank by rank of the first exchange, then of the second.
struct Ends {
  std::vector<double> seconds;
  double makespan_s = 0;
  double bound_s = 0;  // of the first exchange: its bytes over the tightest resource
  double cpu_s = 0;
};

enum class Fidelity { kFlows, kPorts };
// Start-ups are left out, so that the network alone is compared; efficiencies and copying SMs are
// the cluster's.
Ends run_case(const Case& wanted, const CaseInput& input, Fidelity fidelity);

// Of ports against flows, as shares of the makespan in flows.
struct Difference {
  double makespan = 0;  // signed
  double mean_end = 0;
  double worst_end = 0;
};
Difference difference(const Ends& flows, const Ends& ports);

// A row of the table in sim/policies/collectives/fidelity.md.
std::string header_rows();
std::string table_row(const Case& wanted, const Ends& flows, const Ends& ports);

}  // namespace sim::fidelity
