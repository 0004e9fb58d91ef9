#include "sim/core/task_graph.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "sim/core/error.h"

namespace sim {

TaskGraph::TaskGraph(EventLoop& loop, Observer& observer, CoreCauses causes)
    : loop_(loop),
      observer_(observer),
      causes_(causes),
      network_(loop, [this](std::uint64_t tag) { transfer_ended(tag); }) {}

TaskGraph::~TaskGraph() = default;

StreamId TaskGraph::add_stream(DeviceId device, StreamKind kind, Duration gap) {
  streams_.push_back({device, kind, gap, -1, -1, loop_.now(), false});
  return StreamId(static_cast<std::int64_t>(streams_.size()) - 1);
}

HeldId TaskGraph::add_held(std::int64_t capacity) {
  held_.emplace_back(capacity);
  return HeldId(static_cast<std::int64_t>(held_.size()) - 1);
}

std::int32_t TaskGraph::new_task(const TaskSpec& spec) {
  std::int32_t index = 0;
  if (free_tasks_.empty()) {
    index = static_cast<std::int32_t>(tasks_.size());
    tasks_.emplace_back();
  } else {
    index = free_tasks_.back();
    free_tasks_.pop_back();
  }
  Task& task = tasks_[static_cast<std::size_t>(index)];
  const std::uint32_t generation = task.generation;
  task = Task{};
  task.generation = generation;
  task.spec = spec;
  task.state = State::kWaiting;
  ++live_;
  return index;
}

void TaskGraph::connect(std::int32_t task, std::span<const TaskId> after) {
  for (const TaskId& id : after) {
    if (!id.valid()) continue;
    Task& before = tasks_[static_cast<std::size_t>(id.index)];
    if (before.generation != id.generation || before.state == State::kFree) continue;  // has ended
    std::int32_t edge = free_edge_;
    if (edge >= 0) {
      free_edge_ = edges_[static_cast<std::size_t>(edge)].next;
    } else {
      edge = static_cast<std::int32_t>(edges_.size());
      edges_.emplace_back();
    }
    edges_[static_cast<std::size_t>(edge)] = {task, before.first_edge};
    before.first_edge = edge;
    ++tasks_[static_cast<std::size_t>(task)].pending;
  }
}

// Puts the task at the end of its stream and starts it when nothing is before it.
void TaskGraph::enlist(std::int32_t index) {
  Task& task = tasks_[static_cast<std::size_t>(index)];
  if (task.spec.stream.valid()) {
    Stream& stream = streams_[task.spec.stream.index()];
    if (stream.tail >= 0) {
      tasks_[static_cast<std::size_t>(stream.tail)].next_in_stream = index;
    } else {
      stream.head = index;
    }
    stream.tail = index;
  }
  try_start(index);
}

TaskId TaskGraph::add_task(const TaskSpec& spec, std::span<const TaskId> after) {
  SIM_CHECK(spec.stream.valid(), "a task runs on a stream");
  SIM_CHECK(spec.duration >= Duration(0), "a task does not take negative time");
  const std::int32_t index = new_task(spec);
  connect(index, after);
  const TaskId id{index, tasks_[static_cast<std::size_t>(index)].generation};
  enlist(index);
  return id;
}

void TaskGraph::when_done(std::span<const TaskId> after, Done done) {
  const std::int32_t index = new_task(TaskSpec{});
  std::int32_t slot = 0;
  if (free_callbacks_.empty()) {
    slot = static_cast<std::int32_t>(callbacks_.size());
    callbacks_.emplace_back();
  } else {
    slot = free_callbacks_.back();
    free_callbacks_.pop_back();
  }
  callbacks_[static_cast<std::size_t>(slot)] = std::move(done);
  tasks_[static_cast<std::size_t>(index)].callback = slot;
  connect(index, after);
  try_start(index);
}

std::int32_t TaskGraph::new_release() {
  if (free_releases_.empty()) {
    releases_.emplace_back();
    return static_cast<std::int32_t>(releases_.size()) - 1;
  }
  const std::int32_t slot = free_releases_.back();
  free_releases_.pop_back();
  releases_[static_cast<std::size_t>(slot)] = Release{};
  return slot;
}

void TaskGraph::free_release(std::int32_t slot) {
  if (slot >= 0) free_releases_.push_back(slot);
}

void TaskGraph::try_start(std::int32_t index) {
  Task& task = tasks_[static_cast<std::size_t>(index)];
  if (task.state != State::kWaiting || task.pending > 0) return;
  if (task.spec.stream.valid() && streams_[task.spec.stream.index()].head != index) return;
  if (task.release < 0) task.release = new_release();  // released by nobody: at the start
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
  Stream& stream = streams_[task.spec.stream.index()];
  if (stream.kind == StreamKind::kCompute) report_wait(index);
  Duration lead{0};
  if (stream.has_run) {
    const Duration gap = std::max(Duration(0), stream.gap - task.spec.gap_inside);
    lead = std::max(Duration(0), stream.last_end + gap - loop_.now());
  }
  releases_[static_cast<std::size_t>(task.release)].causes[causes_.launch] += lead.count();
  if (stream.kind == StreamKind::kCompute && lead > Duration(0)) {
    observer_.on_wait(
        {task.spec.tag, stream.device, DeviceId(), WaitCause::kLaunch, loop_.now(), lead});
  }
  task.start = loop_.now() + lead;
  if (task.collective >= 0) {
    if (lead == Duration(0)) {
      enter_part(index);
    } else {
      loop_.after(lead, [this, index] { enter_part(index); });
    }
    return;
  }
  loop_.after(lead + task.spec.duration, [this, index] {
    Task& ended = tasks_[static_cast<std::size_t>(index)];
    CauseVector& causes = releases_[static_cast<std::size_t>(ended.release)].causes;
    Duration booked{0};
    for (const CauseShare& share : ended.spec.shares) {
      causes[share.cause] += share.duration.count();
      booked += share.duration;
    }
    causes[ended.spec.shares[0].cause] += (ended.spec.duration - booked).count();
    const Stream& on = streams_[ended.spec.stream.index()];
    const bool host = on.kind == StreamKind::kHost;
    finish(index, host ? ReleaseKind::kHost : ReleaseKind::kTask, on.device, loop_.now());
  });
}

void TaskGraph::report_wait(std::int32_t index) {
  const Task& task = tasks_[static_cast<std::size_t>(index)];
  const Stream& stream = streams_[task.spec.stream.index()];
  const Time idle_since = std::max(stream.last_end, step_begin_);
  const Duration gap = loop_.now() - idle_since;
  if (gap <= Duration(0)) return;
  const Release& release = releases_[static_cast<std::size_t>(task.release)];
  StreamWait record{task.spec.tag, stream.device, DeviceId(), WaitCause::kOther, idle_since, gap};
  if (release.kind == ReleaseKind::kHost) record.cause = WaitCause::kLaunch;
  if (release.kind == ReleaseKind::kPart) {
    const Duration peer = std::clamp(release.peer_ready - idle_since, Duration(0), gap);
    if (peer > Duration(0) && release.peer != stream.device) {
      observer_.on_wait(
          {task.spec.tag, stream.device, release.peer, WaitCause::kPeer, idle_since, peer});
      record.start += peer;
      record.duration -= peer;
    }
    record.cause = WaitCause::kNetwork;
  }
  if (record.duration > Duration(0)) observer_.on_wait(record);
}

// Ends a running task: frees what it holds, lets its stream go on, releases its successors.
void TaskGraph::finish(std::int32_t index, ReleaseKind kind, DeviceId peer, Time peer_ready) {
  Task& task = tasks_[static_cast<std::size_t>(index)];
  Stream& stream = streams_[task.spec.stream.index()];
  observer_.on_task({task.spec.tag, stream.device, stream.kind, task.start, loop_.now()});
  ++tasks_run_;
  stream.last_end = loop_.now();
  stream.has_run = true;
  const Release released{releases_[static_cast<std::size_t>(task.release)].causes, kind, peer,
                         peer_ready};
  free_release(task.release);
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
  std::vector<std::int32_t> ready;
  while (edge >= 0) {
    const Edge e = edges_[static_cast<std::size_t>(edge)];
    edges_[static_cast<std::size_t>(edge)].next = free_edge_;
    free_edge_ = edge;
    edge = e.next;
    Task& successor = tasks_[static_cast<std::size_t>(e.task)];
    if (--successor.pending == 0) {
      if (successor.release < 0) successor.release = new_release();
      releases_[static_cast<std::size_t>(successor.release)] = released;
      successor.start = loop_.now();  // when its dependencies ended; overwritten when it starts
      ready.push_back(e.task);
    }
  }
  std::reverse(ready.begin(), ready.end());  // in the order in which they were added
  if (next >= 0) {
    Task& follower = tasks_[static_cast<std::size_t>(next)];
    if (follower.pending == 0 && follower.state == State::kWaiting &&
        (follower.release < 0 || follower.start < loop_.now())) {
      if (follower.release < 0) follower.release = new_release();
      releases_[static_cast<std::size_t>(follower.release)] = released;
    }
    try_start(next);
  }
  for (const std::int32_t t : ready) try_start(t);
  if (held.valid() && amount > 0) {
    HeldResource& resource = held_[held.index()];
    resource.give_back(amount);
    while (true) {
      const std::int32_t served = resource.next_served();
      if (served < 0) break;
      releases_[static_cast<std::size_t>(tasks_[static_cast<std::size_t>(served)].release)] =
          released;
      start(served);
    }
  }
}

void TaskGraph::run_callback(std::int32_t index) {
  Task& task = tasks_[static_cast<std::size_t>(index)];
  const CauseVector causes = releases_[static_cast<std::size_t>(task.release)].causes;
  const std::int32_t slot = task.callback;
  const Done done = std::move(callbacks_[static_cast<std::size_t>(slot)]);
  callbacks_[static_cast<std::size_t>(slot)] = nullptr;
  free_callbacks_.push_back(slot);
  free_release(task.release);
  task.state = State::kFree;
  ++task.generation;
  free_tasks_.push_back(index);
  --live_;
  done(loop_.now(), causes);
}

void TaskGraph::mark_step_begin() { step_begin_ = loop_.now(); }

void TaskGraph::report_idle_end(TaskTag tag) {
  for (const Stream& stream : streams_) {
    if (stream.kind != StreamKind::kCompute) continue;
    const Time since = std::max(stream.last_end, step_begin_);
    if (loop_.now() > since) {
      observer_.on_wait(
          {tag, stream.device, DeviceId(), WaitCause::kIdleEnd, since, loop_.now() - since});
    }
  }
}

}  // namespace sim
