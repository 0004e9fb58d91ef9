// How far `fidelity: ports` is from `flows`, as a Markdown table:
//   build/release/tests/fidelity/fidelity [GPUS...] > table.md        (default 64 128 256)
// With `--time` the CPU seconds of both are added to stderr.
#include <fmt/format.h>

#include <cstdlib>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "tests/fidelity/measure.h"

int main(int argc, char** argv) {
  using namespace sim::fidelity;
  std::vector<int> sizes;
  std::string only;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word.find_first_not_of("0123456789") == std::string::npos) {
      sizes.push_back(std::atoi(argv[i]));
    } else {
      only = word;
    }
  }
  if (sizes.empty()) sizes = {64, 128, 256};
  const std::string folder =
      std::filesystem::temp_directory_path() /
      fmt::format("fidelity-routing-{}", std::random_device()());  // two may run at once
  std::filesystem::create_directories(folder);
  const std::string trace = import_recorded_routing(folder);
  if (trace.empty()) fmt::print(stderr, "rows of recorded routing need MOE_SHARED_DIR\n");
  fmt::print("{}", header_rows());
  for (const int gpus : sizes) {
    for (const char* algorithm :
         {"nccl", "deepep-low-latency", "deepep-normal", "nvlink-one-sided"}) {
      for (const NamedPattern& pattern : kPatterns) {
        if (pattern.pattern == Pattern::kRecorded && trace.empty()) continue;
        if (!only.empty() && only != algorithm && only != pattern.name) continue;
        for (const char* spraying : kSprayings) {
          const Case wanted{pattern.pattern, algorithm, gpus, spraying};
          const CaseInput input = make_case(wanted, trace);
          const Ends flows = run_case(wanted, input, Fidelity::kFlows);
          const Ends ports = run_case(wanted, input, Fidelity::kPorts);
          fmt::print("{}", table_row(wanted, flows, ports));
          fmt::print(stderr, "{} {} {} {}: flows {:.3f} s, ports {:.3f} s CPU\n", pattern.name,
                     algorithm, gpus, spraying, flows.cpu_s, ports.cpu_s);
        }
      }
    }
  }
  std::filesystem::remove_all(folder);
  return 0;
}
