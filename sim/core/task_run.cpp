// The running half of TaskGraph: tasks begin, wait, end and release each other.
#include <algorithm>
#include <utility>

#include "sim/core/error.h"
#include "sim/core/task_graph.h"

namespace sim {

void TaskGraph::try_start(std::int32_t index) {
  Task& task = tasks_[static_cast<std::size_t>(index)];
  if (task.state != State::kWaiting || task.pending > 0) return;
  if (task.spec.stream.valid() && streams_[task.spec.stream.index()].head != index) return;
  if (task.release < 0) {  // by nobody's end: at the start, or late
    if (context_ >= 0) {
      share_release(index, context_);
    } else {
      task.release = new_release();
    }
  }
  if (task.spec.held.valid() && task.spec.held_amount > 0) {
    if (!held_[task.spec.held.index()].take_or_wait(task.spec.held_amount, index)) {
      task.state = State::kQueuedForHeld;
      return;
    }
  }
  start(index);
}

void TaskGraph::start(std::int32_t index) {
  Task& task = tasks_[static_cast<std::size_t>(index)];
  task.state = State::kRunning;
  if (task.callback >= 0) {
    // In an event of its own: the callback may add tasks while its predecessor is still being
    // finished.
    loop_.at(loop_.now(), [this, index] { run_callback(index); });
    return;
  }
  const Stream& stream = streams_[task.spec.stream.index()];
  Duration lead{0};
  if (stream.has_run) {
    const Duration gap = std::max(Duration(0), stream.gap - task.spec.gap_inside);
    lead = std::max(Duration(0), stream.last_end + gap - loop_.now());
  }
  task.start = loop_.now() + lead;
  if (task.start >= stream.stops) {
    task.state = State::kStopped;
    return;
  }
  if (stream.kind == StreamKind::kCompute) {
    report_wait(index);
    if (speeds_ != nullptr && task.collective < 0 && !disturb(task, stream)) {
      task.state = State::kStopped;
      return;
    }
  }
  if (lead > Duration(0)) {
    own_causes(task)[causes_.launch] += lead.count();
    if (stream.kind == StreamKind::kCompute) {
      observer_.on_wait({task.spec.tag, stream.device, DeviceId(), WaitCause::kLaunch, loop_.now(),
                         lead, releases_[static_cast<std::size_t>(task.release)].by.tag});
    }
  }
  if (task.collective >= 0) {
    if (lead == Duration(0)) {
      enter_part(index);
    } else {
      loop_.after(lead, [this, index] { enter_part(index); });
    }
    return;
  }
  loop_.after(lead + task.spec.duration, [this, index] { end_task(index); });
}

// What the device's state makes of the task's kernels. False: the device stops before the last one
// of them begins.
bool TaskGraph::disturb(Task& task, const Stream& stream) {
  Time at = task.start;
  const auto add = [&](TaskTag tag, Duration undisturbed) {
    const KernelTime time = speeds_->time_of(stream.device, tag, at, undisturbed);
    SIM_CHECK(
        time.duration >= Duration(0) && time.duration == undisturbed + time.slow + time.jitter,
        "a disturbed kernel's time is its own and what was added");
    at += time.duration;
    task.slow += time.slow;
    task.jitter += time.jitter;
    return time;
  };
  if (task.spec.chain == nullptr) {
    task.spec.duration = add(task.spec.tag, task.spec.duration).duration;
    return true;
  }
  std::vector<KernelTime> times;
  for (const KernelChain::Kernel& kernel : task.spec.chain->kernels()) {
    at += kernel.gap;
    if (at >= stream.stops) return false;
    TaskTag tag = task.spec.tag;
    tag.kind = kernel.kind;
    times.push_back(add(tag, kernel.duration));
  }
  task.spec.duration = at - task.start;
  if (task.slow == Duration(0) && task.jitter == Duration(0)) return true;
  if (free_times_.empty()) {
    task.times = static_cast<std::int32_t>(times_.size());
    times_.push_back(std::move(times));
  } else {
    task.times = free_times_.back();
    free_times_.pop_back();
    times_[static_cast<std::size_t>(task.times)] = std::move(times);
  }
  return true;
}

void TaskGraph::end_task(std::int32_t index) {
  Task& task = tasks_[static_cast<std::size_t>(index)];
  CauseVector& causes = own_causes(task);
  causes[causes_.slow_device] += task.slow.count();
  causes[causes_.jitter] += task.jitter.count();
  if (task.spec.chain != nullptr) {
    for (const CauseShare& share : task.spec.chain->shares())
      causes[share.cause] += share.duration.count();
  } else {
    Duration booked = task.slow + task.jitter;
    for (const CauseShare& share : task.spec.shares) {
      causes[share.cause] += share.duration.count();
      booked += share.duration;
    }
    causes[task.spec.shares[0].cause] += (task.spec.duration - booked).count();
  }
  const Stream& on = streams_[task.spec.stream.index()];
  const bool host = on.kind == StreamKind::kHost;
  finish(index,
         {host ? ReleaseKind::kHost : ReleaseKind::kTask, on.device, loop_.now(), task.spec.tag},
         {});
}

// Whom the compute stream waited for since it last ran: what released the task, and before that,
// where a part began when another part had ended, what released that one.
void TaskGraph::report_wait(std::int32_t index) {
  const Task& task = tasks_[static_cast<std::size_t>(index)];
  const Stream& stream = streams_[task.spec.stream.index()];
  const Time idle_since = std::max(stream.last_end, step_begin_);
  if (loop_.now() <= idle_since) return;
  const Release& release = releases_[static_cast<std::size_t>(task.release)];
  Time at = idle_since;
  const auto report = [&](Time until, WaitCause cause, DeviceId peer, TaskTag by) {
    until = std::min(until, loop_.now());
    if (until <= at) return;
    observer_.on_wait({task.spec.tag, stream.device, peer, cause, at, until - at, by});
    at = until;
  };
  if (release.by.kind == ReleaseKind::kPart) {
    for (const Releaser* part : {&release.before, &release.by}) {
      if (part->kind != ReleaseKind::kPart) continue;
      if (part->peer != stream.device)
        report(part->peer_ready, WaitCause::kPeer, part->peer, part->tag);
      // Its own bytes flow until the next part began, or until now.
      const bool last = part == &release.by;
      report(last ? loop_.now() : release.by.peer_ready, WaitCause::kNetwork, DeviceId(),
             part->tag);
    }
  }
  const bool host = release.by.kind == ReleaseKind::kHost;
  report(loop_.now(), host ? WaitCause::kLaunch : WaitCause::kOther, DeviceId(), release.by.tag);
}

// Ends a running task: frees what it holds, lets its stream go on, releases its successors.
void TaskGraph::finish(std::int32_t index, const Releaser& by, const Releaser& before,
                       const PathRecord* part) {
  Task& task = tasks_[static_cast<std::size_t>(index)];
  Stream& stream = streams_[task.spec.stream.index()];
  observer_.on_task({task.spec.tag, stream.device, stream.kind, task.start, loop_.now(),
                     task.spec.chain,
                     task.times < 0 ? nullptr : times_[static_cast<std::size_t>(task.times)].data(),
                     task.slow, task.jitter});
  if (task.times >= 0) free_times_.push_back(task.times);
  ++tasks_run_;
  stream.last_end = loop_.now();
  stream.has_run = true;
  own_causes(task);
  const std::int32_t released = task.release;
  Release& release = releases_[static_cast<std::size_t>(released)];
  release.by = by;
  release.before = before;
  if (path_log_ != nullptr) {
    PathRecord record = part != nullptr ? *part : PathRecord{};
    record.tag = task.spec.tag;
    record.device = stream.device;
    record.stream = stream.kind;
    if (part == nullptr) record.start = task.start;
    record.end = loop_.now();
    record.causes = release.causes;
    const PathRecordId earlier = release.record;
    release.record = path_log_->add(record, earlier);
    path_log_->drop(earlier);
  }
  const std::int32_t next = task.next_in_stream;
  stream.head = next;
  if (next < 0) stream.tail = -1;
  std::int32_t edge = task.first_edge;
  const HeldId held = task.spec.held;
  const std::int64_t amount = task.spec.held_amount;
  task.state = State::kFree;
  ++task.generation;
  free_tasks_.push_back(index);
  --live_;
  // Successors by dependency first: what they learn from this task is more than stream order.
  const std::size_t ready_begin = ready_.size();
  while (edge >= 0) {
    const Edge e = edges_[static_cast<std::size_t>(edge)];
    edges_[static_cast<std::size_t>(edge)].next = free_edge_;
    free_edge_ = edge;
    edge = e.next;
    Task& successor = tasks_[static_cast<std::size_t>(e.task)];
    if (--successor.pending == 0) {
      share_release(e.task, released);
      successor.start = loop_.now();  // when its dependencies ended; overwritten when it starts
      ready_.push_back(e.task);
    }
  }
  if (next >= 0) {
    const Task& follower = tasks_[static_cast<std::size_t>(next)];
    if (follower.pending == 0 && follower.state == State::kWaiting &&
        (follower.release < 0 || follower.start < loop_.now())) {
      share_release(next, released);
    }
    try_start(next);
  }
  for (std::size_t i = ready_.size(); i > ready_begin; --i)  // in the order of their adding
    try_start(ready_[i - 1]);
  ready_.resize(ready_begin);
  if (held.valid() && amount > 0) {
    HeldResource& resource = held_[held.index()];
    resource.give_back(amount);
    while (true) {
      const std::int32_t served = resource.next_served();
      if (served < 0) break;
      share_release(served, released);
      start(served);
    }
  }
  drop_release(released);
}

void TaskGraph::run_callback(std::int32_t index) {
  Task& task = tasks_[static_cast<std::size_t>(index)];
  const std::int32_t release = task.release;
  const CauseVector causes = releases_[static_cast<std::size_t>(release)].causes;
  const std::int32_t slot = task.callback;
  const Done done = std::move(callbacks_[static_cast<std::size_t>(slot)]);
  callbacks_[static_cast<std::size_t>(slot)] = nullptr;
  free_callbacks_.push_back(slot);
  task.state = State::kFree;
  ++task.generation;
  free_tasks_.push_back(index);
  --live_;
  context_ = release;
  if (path_log_ != nullptr)
    path_log_->set_last(releases_[static_cast<std::size_t>(release)].record);
  done(loop_.now(), causes);
  if (path_log_ != nullptr) path_log_->set_last(-1);
  context_ = -1;
  drop_release(release);
}

}  // namespace sim
