#include "models/microbench/cpu/machine_facts.h"

#include <cblas.h>

#include <fstream>
#include <string>

#include "sim/input/quantity.h"

namespace sim::microbench {

namespace {

// The value of the first line "key : value" of a file of /proc; empty when there is none.
std::string proc_value(const std::string& file, const std::string& key) {
  std::ifstream in(file);
  std::string line;
  while (std::getline(in, line)) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos || line.compare(0, key.size(), key) != 0) continue;
    const std::size_t begin = line.find_first_not_of(" \t", colon + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return "";
}

}  // namespace

DeviceFacts machine_facts(int threads) {
  DeviceFacts facts;
  facts.name = proc_value("/proc/cpuinfo", "model name");
  if (facts.name.empty()) facts.name = "unknown CPU";
  facts.sms = threads;
  facts.clock_mhz = parse_number(proc_value("/proc/cpuinfo", "cpu MHz")).value_or(0);
  facts.clock_note = "as /proc/cpuinfo said at the start; a virtual machine shows the base clock";
  const std::string memory = proc_value("/proc/meminfo", "MemTotal");  // "24689764 kB"
  facts.memory_bytes = static_cast<std::int64_t>(
      parse_number(memory.substr(0, memory.find(' '))).value_or(0) * 1024);
  facts.runtime = std::string(openblas_get_config()) + ", " + std::to_string(threads) +
                  (threads == 1 ? " thread" : " threads");
  return facts;
}

}  // namespace sim::microbench
