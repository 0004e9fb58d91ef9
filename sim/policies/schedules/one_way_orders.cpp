// Orders of pipelines in which every micro-batch enters at stage 0 and one stage holds consecutive
// or interleaved chunks.
#include <algorithm>

#include "sim/policies/schedules/pipeline_orders.h"

namespace sim::orders {
namespace {

// The number-th forward or backward of a stage: groups of `stages` micro-batches, chunk by chunk;
// backward passes with the chunks in reverse.
Pass numbered(const PipelineSchedule& schedule, PassOf kind, int number) {
  const int chunks = schedule.chunks;
  if (chunks == 1) return {kind, number, 0};
  const int group = schedule.stages * chunks;
  const int within = number % group;
  const int chunk = within / schedule.stages;
  return {kind, number / group * schedule.stages + within % schedule.stages,
          kind == PassOf::kForward ? chunk : chunks - 1 - chunk};
}

}  // namespace

// GPipe: the figure of the paper runs the backward passes in reverse order.
void fill_gpipe(PipelineSchedule& schedule) {
  for (std::vector<Slot>& slots : schedule.order) {
    for (int m = 0; m < schedule.micro_batches; ++m) slots.push_back({{PassOf::kForward, m, 0}});
    for (int m = schedule.micro_batches - 1; m >= 0; --m)
      slots.push_back({{PassOf::kBackward, m, 0}});
  }
}

// Megatron-LM. A stage starts with so many forwards that
// the first backward reaches it just then. With one chunk this is 1F1B.
void fill_interleaved(PipelineSchedule& schedule) {
  const int stages = schedule.stages;
  const int chunks = schedule.chunks;
  const int passes = schedule.micro_batches * chunks;
  const auto pass = [&](PassOf kind, int number) { return numbered(schedule, kind, number); };
  for (int stage = 0; stage < stages; ++stage) {
    std::vector<Slot>& slots = schedule.order[static_cast<std::size_t>(stage)];
    const int ahead = stages - stage - 1;
    const int warm_up = std::min(passes, chunks == 1 ? ahead : 2 * ahead + (chunks - 1) * stages);
    for (int i = 0; i < warm_up; ++i) slots.push_back({pass(PassOf::kForward, i)});
    for (int i = 0; i < passes; ++i) {
      if (warm_up + i < passes) slots.push_back({pass(PassOf::kForward, warm_up + i)});
      slots.push_back({pass(PassOf::kBackward, i)});
    }
  }
}

// Megatron-Core's combined 1F1B: a slot holds a forward and the backward of the pass before it, so
// a stage starts with twice as many forwards as 1F1B and one more: stage s's slot comes after stage
// s + 1's, whose forward of two slots ahead it feeds.
void fill_overlapped(PipelineSchedule& schedule) {
  const int passes = schedule.micro_batches * schedule.chunks;
  for (int stage = 0; stage < schedule.stages; ++stage) {
    std::vector<Slot>& slots = schedule.order[static_cast<std::size_t>(stage)];
    const int ahead = schedule.stages - stage - 1;
    const int warm_up = std::min(passes, 2 * ahead + (schedule.chunks - 1) * schedule.stages + 1);
    for (int i = 0; i < warm_up; ++i) slots.push_back({numbered(schedule, PassOf::kForward, i)});
    for (int i = 0; i < passes; ++i) {
      const Pass backward = numbered(schedule, PassOf::kBackward, i);
      if (warm_up + i < passes) {
        slots.push_back({numbered(schedule, PassOf::kForward, warm_up + i), backward});
      } else {
        slots.push_back({backward});
      }
    }
  }
}

// ZB-H1: stage s runs the weight gradient of a micro-batch s micro-batches after its input
// gradient. Later stages, which have fewer forwards in flight, so fill their last waits, and no
// stage holds more than stage 0 does.
void fill_zero_bubble(PipelineSchedule& schedule) {
  const int micro_batches = schedule.micro_batches;
  for (int stage = 0; stage < schedule.stages; ++stage) {
    std::vector<Slot>& slots = schedule.order[static_cast<std::size_t>(stage)];
    int forward = 0;
    int weight = 0;
    const int warm_up = std::min(micro_batches, schedule.stages - stage - 1);
    while (forward < warm_up) slots.push_back({{PassOf::kForward, forward++, 0}});
    for (int input = 0; input < micro_batches; ++input) {
      if (forward < micro_batches) slots.push_back({{PassOf::kForward, forward++, 0}});
      slots.push_back({{PassOf::kInputGradient, input, 0}});
      if (input >= stage) slots.push_back({{PassOf::kWeightGradient, weight++, 0}});
    }
    while (weight < micro_batches) slots.push_back({{PassOf::kWeightGradient, weight++, 0}});
  }
}

}  // namespace sim::orders
