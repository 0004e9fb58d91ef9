// Two runs of a results database side by side: metric by metric, and cause by cause of their steps.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace sim {

struct ComparedRun {
  std::int64_t run_id = 0;
  std::string name;
  std::string kind;
  std::string model;
  std::string cluster;
  std::string scenario;  // YAML as run
  std::string version;
  std::optional<std::string> fingerprint;  // none: it has not finished
  std::int64_t steps = 0;
};

// A value that at least one of the runs has.
struct ComparedValue {
  std::string name;
  std::string unit;
  std::optional<double> a;
  std::optional<double> b;
};

struct RunComparison {
  ComparedRun a;
  ComparedRun b;
  std::vector<ComparedValue> metrics;  // by name
  // Seconds of the critical path per step, mean over the run's steps; largest change first. Their
  // sums are the mean step times, so their differences add up to the difference of those.
  std::vector<ComparedValue> causes;
};

// Throws Error: no such file or run, a run without a step.
RunComparison compare_runs(const std::string& path, std::int64_t a, std::int64_t b);

}  // namespace sim
