// Runs a pipeline schedule with given times of passes and free sends: what the closed forms of the
// papers are about. Tests only; the simulator runs schedules on its engine.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <vector>

#include "sim/policies/schedules/pipeline_schedule.h"

namespace sim {

struct PassTimes {  // of one chunk
  double forward = 1;
  double input = 1;
  double weight = 1;
  double beside = 3;  // of a forward and a whole backward that run beside each other
};

struct PipelineTimes {
  double makespan = 0;
  std::vector<double> busy;   // per stage
  std::vector<double> begin;  // of its first pass
  std::vector<double> end;    // of its last pass
};

inline PipelineTimes run_unit_times(const PipelineSchedule& schedule, const PassTimes& times) {
  const auto stages = static_cast<std::size_t>(schedule.stages);
  PipelineTimes result{0, std::vector<double>(stages, 0), std::vector<double>(stages, -1),
                       std::vector<double>(stages, 0)};
  std::map<std::tuple<bool, int, int>, double> ended;  // (forward, micro-batch, part)
  const auto time_of = [&](const Slot& slot) {
    if (slot.beside) return times.beside;
    switch (slot.first.kind) {
      case PassOf::kForward:
        return times.forward;
      case PassOf::kInputGradient:
        return times.input;
      case PassOf::kWeightGradient:
        return times.weight;
      case PassOf::kBackward:
        break;
    }
    return times.input + times.weight;
  };
  for (const SlotPlace& at : dependency_order(schedule)) {
    const auto stage = static_cast<std::size_t>(at.stage);
    const Slot& slot = schedule.order[stage][static_cast<std::size_t>(at.index)];
    std::vector<Pass> passes = {slot.first};
    if (slot.beside) passes.push_back(*slot.beside);
    double begin = result.end[stage];
    for (const Pass& pass : passes) {
      if (pass.kind == PassOf::kWeightGradient) continue;
      const bool forward = pass.kind == PassOf::kForward;
      const int part = *part_at(schedule, pass.micro_batch, {at.stage, pass.chunk});
      const int before = forward ? part - 1 : part + 1;
      if (before < 0 || before == schedule.parts()) continue;
      begin = std::max(begin, ended.at({forward, pass.micro_batch, before}));
    }
    const double time = time_of(slot);
    for (const Pass& pass : passes) {
      if (pass.kind == PassOf::kWeightGradient) continue;
      const int part = *part_at(schedule, pass.micro_batch, {at.stage, pass.chunk});
      ended[{pass.kind == PassOf::kForward, pass.micro_batch, part}] = begin + time;
    }
    if (result.begin[stage] < 0) result.begin[stage] = begin;
    result.end[stage] = begin + time;
    result.busy[stage] += time;
    result.makespan = std::max(result.makespan, begin + time);
  }
  return result;
}

}  // namespace sim
