// Wires a scenario to an event loop and runs it: read this second.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "analysis/records.h"
#include "models/memory.h"
#include "sim/app/counterfactual.h"
#include "sim/app/recorder.h"
#include "sim/app/run_failure.h"
#include "sim/app/scenario.h"
#include "sim/app/step_evidence.h"
#include "sim/app/timeline_recorder.h"
#include "sim/workloads/block_costs.h"
#include "traces/routing.h"

namespace sim {

inline constexpr std::string_view kVersion = "0.1.0";

struct RunOptions {
  std::string results;  // database to append to; empty: none
  std::optional<TimelineChoice> timeline;
  Counterfactual removed = Counterfactual::kNone;
  bool follow_path = false;  // the evidence has the critical path
  std::function<void(const StepEvidence&)> on_step;
  std::function<void(int done, int steps)> progress;
};

// How much work the run was.
struct RunEffort {
  std::uint64_t events = 0;
  std::uint64_t tasks = 0;
  std::uint64_t transfers = 0;
  std::uint64_t level_changes = 0;
  double cpu_s = 0;
  double wall_s = 0;
  std::int64_t peak_resident_bytes = 0;
};

struct RunOutcome {
  std::int64_t run_id = 0;  // 0: no database
  std::string fingerprint;
  std::vector<MetricRecord> metrics;
  Recorder::Totals totals;
  std::vector<CostRecord> costs;                // sorted by time, largest first
  double out_of_range_share = 0;                // of the time in `costs`
  std::vector<std::vector<MemoryItem>> memory;  // per rank
  std::vector<std::string> warnings;
  std::string routing_description;
  ReuseReport reuse;
  int empty_slots = 0;  // of one routed block
  int wasted_copies = 0;
  RunEffort effort;
  // A rank stopped: what is above is of the steps that ended. Without any the metrics are the
  // failure's alone.
  std::optional<RunFailure> failure;
  std::optional<TimelineReport> timeline;

  double metric(std::string_view name) const;  // REQUIRES: it exists
};

// Throws Error when the scenario cannot run; the database then holds every step that finished.
RunOutcome run_scenario(const Scenario& scenario, const RunOptions& options);

}  // namespace sim
