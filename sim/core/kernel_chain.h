// Kernels that one stream runs one after another, as one task.
//
// A chain is an immutable value. Between its kernels lie the gaps of the stream that it was built
// for, as TaskGraph would leave them between tasks of their own, so a run with chains has the
// durations of a run without them to the picosecond. One thing differs: what the task holds (SMs)
// stays held between its kernels, so nobody gets in between.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sim/core/observer.h"

namespace sim {

struct CauseShare {
  CauseId cause = 0;
  Duration duration{};
};

class KernelChain {
 public:
  struct Kernel {
    static constexpr std::int8_t kPassOfTask = -1;
    std::int16_t kind = -1;
    std::int16_t layer_offset = 0;  // its layer is that of the task's tag plus this
    std::int8_t pass = kPassOfTask;
    Duration gap{};  // before it; 0 of the first one: that gap depends on what ran before
    Duration duration{};
  };

  class Builder;

  Duration duration() const { return duration_; }  // gaps included
  Duration gap() const { return gap_; }            // of the stream it was built for
  Duration first_gap_inside() const { return first_gap_inside_; }
  std::span<const Kernel> kernels() const { return kernels_; }
  std::span<const CauseShare> shares() const { return shares_; }  // add up to the duration

 private:
  KernelChain() = default;

  std::vector<Kernel> kernels_;
  std::vector<CauseShare> shares_;  // one per cause
  Duration duration_{};
  Duration gap_{};
  Duration first_gap_inside_{};
};

class KernelChain::Builder {
 public:
  // `gap` of the stream that the chain is for; `launch` is where gaps are booked.
  Builder(Duration gap, CauseId launch);
  // `gap_inside` and `shares` as in TaskSpec; the kernel's own `gap` is worked out here. REQUIRES:
  // duration >= 0, a share.
  Builder& add(Kernel kernel, Duration gap_inside, std::span<const CauseShare> shares);
  bool empty() const { return chain_.kernels_.empty(); }
  KernelChain build() &&;  // REQUIRES: not empty

 private:
  void book(CauseId cause, Duration duration);
  CauseId launch_;
  KernelChain chain_;
};

// Calls visit(const TaskSpan& kernel, Duration gap_before) for each kernel of a task in order; for
// a task without a chain that is the task itself, without a gap.
template <class Visit>
void for_each_kernel(const TaskSpan& task, const Visit& visit) {
  if (task.chain == nullptr) {
    visit(task, Duration(0));
    return;
  }
  TaskSpan kernel = task;
  kernel.chain = nullptr;
  kernel.times = nullptr;
  Time at = task.start;
  const KernelTime* time = task.times;
  for (const KernelChain::Kernel& each : task.chain->kernels()) {
    kernel.tag.kind = each.kind;
    kernel.tag.layer = static_cast<std::int16_t>(task.tag.layer + each.layer_offset);
    kernel.tag.pass = each.pass == KernelChain::Kernel::kPassOfTask ? task.tag.pass : each.pass;
    kernel.start = at + each.gap;
    kernel.end = kernel.start + (time != nullptr ? time->duration : each.duration);
    kernel.slow = time != nullptr ? time->slow : Duration(0);
    kernel.jitter = time != nullptr ? time->jitter : Duration(0);
    visit(static_cast<const TaskSpan&>(kernel), each.gap);
    at = kernel.end;
    if (time != nullptr) ++time;
  }
}

}  // namespace sim
