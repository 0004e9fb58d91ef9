// A run that ended because a rank stopped: who, who noticed, when it was given up and what was
// lost.
#pragma once

#include <string>
#include <vector>

#include "analysis/records.h"
#include "sim/core/task_graph.h"

namespace sim {

struct RunFailure {
  TaskGraph::StoppedDevice stopped;
  Duration timeout{};
  int steps_ended = 0;
  Time step_begin;  // of the step that never ended
  int gpus = 0;

  // The time-out counts from when the first other rank waited; before the stop nothing is wrong.
  Time aborted() const { return std::max(stopped.stopped, stopped.waiting_since + timeout); }
  // GPU-seconds of all GPUs from the begin of the unfinished step to the first wait, and from there
  // to the abort.
  double lost_in_step_gpu_s() const {
    return to_seconds(stopped.waiting_since - step_begin) * gpus;
  }
  double lost_waiting_gpu_s() const { return to_seconds(aborted() - stopped.waiting_since) * gpus; }
};

std::vector<MetricRecord> failure_metrics(const RunFailure& failure);
std::string failure_text(const RunFailure& failure);  // some lines of the summary

}  // namespace sim
