// Orders in which a stage has two chunks and the second one's work comes back to it: ZB-V, DualPipe
// and DualPipe cut in half.
#include <algorithm>
#include <deque>

#include "sim/policies/schedules/pipeline_orders.h"

namespace sim::orders {
namespace {

// Writes one stage's order; micro-batches of a chunk run in ascending order.
class StageWriter {
 public:
  // Phase x runs chunk `chunk[x]` and counts its micro-batches from first_micro_batch[x].
  StageWriter(std::vector<Slot>& slots, std::array<int, 2> chunk, std::array<int, 2> first)
      : slots_(slots), chunk_(chunk), forward_(first), backward_(first) {}

  Pass forward(int phase) { return {PassOf::kForward, forward_[at(phase)]++, chunk_[at(phase)]}; }
  Pass backward(int phase) {
    return {PassOf::kBackward, backward_[at(phase)]++, chunk_[at(phase)]};
  }
  // Its weight gradient is left for later.
  Pass input_gradient(int phase) {
    const int micro_batch = backward_[at(phase)]++;
    late_.push_back({PassOf::kWeightGradient, micro_batch, chunk_[at(phase)]});
    return {PassOf::kInputGradient, micro_batch, chunk_[at(phase)]};
  }
  // The weight gradient that has been left longest, of any chunk.
  Pass weight_gradient() {
    const Pass pass = late_.front();
    late_.pop_front();
    return pass;
  }
  int forwards(int phase) const { return forward_[at(phase)]; }
  void run(const Pass& pass) { slots_.push_back({pass}); }
  void run(const Pass& pass, const Pass& beside) { slots_.push_back({pass, beside}); }

 private:
  static std::size_t at(int phase) { return static_cast<std::size_t>(phase); }

  std::vector<Slot>& slots_;
  std::array<int, 2> chunk_;
  std::array<int, 2> forward_;
  std::array<int, 2> backward_;
  std::deque<Pass> late_;
};

// One stage of DualPipe (DeepSeek-V3, section 3.2.1), `distance` stages from the end that its
// phase 0 enters at, `depth` stages from there to the middle, `micro_batches` per phase. The eight
// parts are those of the published description.
void write_dualpipe_stage(StageWriter& stage, int distance, int depth, int micro_batches) {
  const int inner = depth - distance - 1;  // stages between this one and the middle
  for (int i = 0; i < 2 * inner; ++i) stage.run(stage.forward(0));
  for (int i = 0; i <= distance; ++i) {
    stage.run(stage.forward(0));
    stage.run(stage.forward(1));
  }
  for (int i = 0; i < inner; ++i) {
    stage.run(stage.input_gradient(1));
    stage.run(stage.weight_gradient());
    stage.run(stage.forward(1));
  }
  for (int i = 0; i < micro_batches - 2 * depth + distance + 1; ++i) {
    const Pass forward = stage.forward(0);
    const Pass backward = stage.backward(1);
    if (i == 0 && inner == 0) {  // the middle would wait for its own forward
      stage.run(forward);
      stage.run(backward);
    } else {
      stage.run(forward, backward);
    }
    const Pass second_forward = stage.forward(1);
    stage.run(second_forward, stage.backward(0));
  }
  for (int i = 0; i < inner; ++i) {
    stage.run(stage.backward(1));
    const Pass forward = stage.forward(1);
    stage.run(forward, stage.backward(0));
  }
  // From the middle of this part on, weight gradients are kept for the waits at the end.
  for (int i = 0; i < 2 * (distance + 1); ++i) {
    const int phase = i % 2 == 0 ? 1 : 0;
    stage.run(i > distance ? stage.input_gradient(phase) : stage.backward(phase));
  }
  for (int i = 0; i < inner; ++i) {
    stage.run(stage.weight_gradient());
    stage.run(stage.input_gradient(0));
  }
  for (int i = 0; i <= distance; ++i) stage.run(stage.weight_gradient());
}

}  // namespace

void fill_dualpipe(PipelineSchedule& schedule) {
  const int stages = schedule.stages;
  for (int s = 0; s < stages; ++s) {
    std::vector<Slot>& slots = schedule.order[static_cast<std::size_t>(s)];
    if (schedule.two_copies()) {
      const int half = schedule.micro_batches / 2;
      const bool second_half = s >= stages / 2;  // of the stages: their phase 0 is the other path
      StageWriter stage(slots, second_half ? std::array{1, 0} : std::array{0, 1},
                        second_half ? std::array{half, 0} : std::array{0, half});
      write_dualpipe_stage(stage, std::min(s, stages - 1 - s), stages / 2, half);
    } else {
      StageWriter stage(slots, {0, 1}, {0, 0});
      write_dualpipe_stage(stage, s, stages, schedule.micro_batches);
    }
  }
}

// ZB-V in its handcrafted form: enough forwards that the first backward meets them, then per
// micro-batch both chunks' forward, input and weight gradient, at the end input gradients first.
// The pattern is that of a long pipeline; passes of micro-batches that there are not fall out.
void fill_zero_bubble_v(PipelineSchedule& schedule) {
  const int stages = schedule.stages;
  const int pattern = std::max(schedule.micro_batches, 2 * stages - 1);
  for (int s = 0; s < stages; ++s) {
    std::vector<Slot>& slots = schedule.order[static_cast<std::size_t>(s)];
    std::array<int, 2> forward{};
    std::array<int, 2> input{};
    std::array<int, 2> weight{};
    const auto run = [&](PassOf kind, std::array<int, 2>& count, int chunk) {
      const int micro_batch = count[static_cast<std::size_t>(chunk)]++;
      if (micro_batch < schedule.micro_batches) slots.push_back({{kind, micro_batch, chunk}});
    };
    const auto backward = [&](int chunk) {
      run(PassOf::kInputGradient, input, chunk);
      run(PassOf::kWeightGradient, weight, chunk);
    };
    for (int i = 0; i < 2 * (stages - s) - 1; ++i) run(PassOf::kForward, forward, 0);
    for (int i = 0; i < s; ++i) {
      run(PassOf::kForward, forward, 1);
      run(PassOf::kForward, forward, 0);
    }
    for (int i = 0; i < stages - s; ++i) {
      run(PassOf::kForward, forward, 1);
      backward(1);
    }
    while (forward[1] < forward[0] || forward[0] < pattern) {
      if (forward[0] < pattern) run(PassOf::kForward, forward, 0);
      backward(0);
      run(PassOf::kForward, forward, 1);
      backward(1);
    }
    for (int i = 0; i < s; ++i) {
      run(PassOf::kInputGradient, input, 0);
      run(PassOf::kInputGradient, input, 1);
    }
    for (int i = 0; i < stages - s; ++i) {
      run(PassOf::kInputGradient, input, 0);
      run(PassOf::kWeightGradient, weight, 0);
    }
    while (weight[1] < input[1]) run(PassOf::kWeightGradient, weight, 1);
    while (weight[0] < input[0]) run(PassOf::kWeightGradient, weight, 0);
  }
}

}  // namespace sim::orders
