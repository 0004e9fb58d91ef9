// The committed table of errors is what the code gives, and ports keep what they promise.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

#include "tests/fidelity/measure.h"

namespace sim::fidelity {
namespace {

const char* const kAlgorithms[] = {"nccl", "deepep-low-latency", "deepep-normal",
                                   "nvlink-one-sided"};

// Rows of the table by its first four columns.
std::set<std::string> committed_rows() {
  std::ifstream file(std::string(MOE_SOURCE_DIR) + "/sim/policies/collectives/fidelity.md");
  std::set<std::string> rows;
  for (std::string line; std::getline(file, line);) rows.insert(line + "\n");
  return rows;
}

std::string trace() {
  const std::string folder =
      std::filesystem::temp_directory_path() / ("fidelity-test-" + std::to_string(getpid()));
  std::filesystem::create_directories(folder);
  return import_recorded_routing(folder);
}

TEST(Fidelity, CommittedRowsOf64GpusAreWhatTheCodeGives) {
  const std::set<std::string> committed = committed_rows();
  const std::string recorded = trace();
  int compared = 0;
  for (const char* algorithm : kAlgorithms) {
    for (const NamedPattern& pattern : kPatterns) {
      if (pattern.pattern == Pattern::kRecorded && recorded.empty()) continue;
      for (const char* spraying : kSprayings) {
        const Case wanted{pattern.pattern, algorithm, 64, spraying};
        const CaseInput input = make_case(wanted, recorded);
        const std::string row = table_row(wanted, run_case(wanted, input, Fidelity::kFlows),
                                          run_case(wanted, input, Fidelity::kPorts));
        EXPECT_TRUE(committed.contains(row))
            << "not in sim/policies/collectives/fidelity.md; make it anew with "
               "build/release/tests/fidelity/fidelity:\n"
            << row;
        ++compared;
      }
    }
  }
  EXPECT_GE(compared, 48);
}

// Equal sizes and starts: what every port moves at once is what the pairs move.
TEST(Fidelity, UniformExchangesOnIdealUplinksAreThoseOfFlows) {
  for (const char* algorithm : kAlgorithms) {
    const Case wanted{Pattern::kUniform, algorithm, 64, "ideal"};
    const CaseInput input = make_case(wanted, "");
    const Ends flows = run_case(wanted, input, Fidelity::kFlows);
    const Ends ports = run_case(wanted, input, Fidelity::kPorts);
    const Difference d = difference(flows, ports);
    EXPECT_LT(d.worst_end, 1e-3) << algorithm << ": " << table_row(wanted, flows, ports);
  }
}

// The engine checks that itself; here, that the bound is not idle: it is nearly reached.
TEST(Fidelity, NoExchangeBeatsItsBoundAndASkewedOneReachesIt) {
  const Case wanted{Pattern::kSkewed, "nccl", 64, "ideal"};
  const CaseInput input = make_case(wanted, "");
  for (const Fidelity fidelity : {Fidelity::kFlows, Fidelity::kPorts}) {
    const Ends ends = run_case(wanted, input, fidelity);
    EXPECT_GE(ends.makespan_s, ends.bound_s);
    EXPECT_LT(ends.makespan_s, ends.bound_s * 1.01);
  }
}

// Every rank waits for somebody who comes late, and nobody can be done before.
TEST(Fidelity, NoRankEndsBeforeTheLastSenderHasBegun) {
  const Case wanted{Pattern::kStaggered, "deepep-low-latency", 64, "ideal"};
  const CaseInput input = make_case(wanted, "");
  const Ends flows = run_case(wanted, input, Fidelity::kFlows);
  const Ends ports = run_case(wanted, input, Fidelity::kPorts);
  double earliest_flows = 1, earliest_ports = 1;
  for (const double s : flows.seconds) earliest_flows = std::min(earliest_flows, s);
  for (const double s : ports.seconds) earliest_ports = std::min(earliest_ports, s);
  EXPECT_NEAR(earliest_ports / earliest_flows, 1, 0.05);
}

}  // namespace
}  // namespace sim::fidelity
