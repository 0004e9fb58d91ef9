// What is fuzzed: a name and a function that takes any bytes. A function returns whatever the bytes
// are; sim::Error is an answer. Anything else that comes out of it is a bug.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace sim::fuzz {

struct Target {
  std::string name;
  std::function<void(std::string_view bytes)> run;
  // Of processor time. More than a second where a short text may ask for a lot: a million GPUs.
  double most_seconds = 1;
};

// The targets of this program (list_data.cpp or list_every.cpp); those of the importers are made
// from the table of formats.
const std::vector<Target>& targets();
// Null when there is none of this name.
const Target* find_target(std::string_view name);
// Runs it and takes sim::Error as an answer.
void run_target(const Target& target, std::string_view bytes);

std::vector<Target> joined(const std::vector<std::vector<Target>>& parts);
std::vector<Target> text_targets();     // targets_text.cpp
std::vector<Target> trace_targets();    // targets_trace.cpp
std::vector<Target> machine_targets();  // targets_machine.cpp

// `bytes` as a file of this process, in memory where the system has such a folder. Overwritten by
// the next call with the same name.
std::string scratch_file(const std::string& name, std::string_view bytes);
std::string scratch_path(const std::string& name);

}  // namespace sim::fuzz
