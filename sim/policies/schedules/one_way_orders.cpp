// Orders of pipelines in which every micro-batch enters at stage 0 and one stage holds consecutive
// or interleaved chunks.
#include <algorithm>

#include "sim/policies/schedules/pipeline_orders.h"

namespace sim::orders {

// GPipe: the figure of the paper runs the backward passes in reverse order.
void fill_gpipe(PipelineSchedule& schedule) {
  for (std::vector<Slot>& slots : schedule.order) {
    for (int m = 0; m < schedule.micro_batches; ++m) slots.push_back({{PassOf::kForward, m, 0}});
    for (int m = schedule.micro_batches - 1; m >= 0; --m)
      slots.push_back({{PassOf::kBackward, m, 0}});
  }
}

// Megatron-LM: forward passes run through groups of `stages` micro-batches, chunk by chunk;
// backward passes likewise with the chunks in reverse. A stage starts with so many forwards that
// the first backward reaches it just then. With one chunk this is 1F1B.
void fill_interleaved(PipelineSchedule& schedule) {
  const int stages = schedule.stages;
  const int chunks = schedule.chunks;
  const int passes = schedule.micro_batches * chunks;
  const int group = stages * chunks;
  const auto pass = [&](PassOf kind, int number) {
    if (chunks == 1) return Pass{kind, number, 0};
    const int within = number % group;
    const int chunk = within / stages;
    return Pass{kind, number / group * stages + within % stages,
                kind == PassOf::kForward ? chunk : chunks - 1 - chunk};
  };
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
