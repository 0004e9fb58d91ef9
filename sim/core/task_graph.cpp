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
  if (spec.chain != nullptr) {
    SIM_CHECK(spec.chain->gap() == streams_[spec.stream.index()].gap,
              "a chain runs on a stream with the gap that it was built for");
    TaskSpec& own = tasks_[static_cast<std::size_t>(index)].spec;
    own.duration = spec.chain->duration();
    own.gap_inside = spec.chain->first_gap_inside();
  }
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

// A fresh one with one user.
std::int32_t TaskGraph::new_release() {
  std::int32_t slot = 0;
  if (free_releases_.empty()) {
    slot = static_cast<std::int32_t>(releases_.size());
    releases_.emplace_back();
  } else {
    slot = free_releases_.back();
    free_releases_.pop_back();
    releases_[static_cast<std::size_t>(slot)] = Release{};
  }
  releases_[static_cast<std::size_t>(slot)].users = 1;
  return slot;
}

void TaskGraph::drop_release(std::int32_t slot) {
  if (slot >= 0 && --releases_[static_cast<std::size_t>(slot)].users == 0)
    free_releases_.push_back(slot);
}

// From now on the task goes by this release.
void TaskGraph::share_release(std::int32_t index, std::int32_t slot) {
  Task& task = tasks_[static_cast<std::size_t>(index)];
  ++releases_[static_cast<std::size_t>(slot)].users;
  drop_release(task.release);
  task.release = slot;
}

// The causes of the task's path, for it alone to add to.
CauseVector& TaskGraph::own_causes(Task& task) {
  if (releases_[static_cast<std::size_t>(task.release)].users > 1) {
    const std::int32_t own = new_release();
    Release& copy = releases_[static_cast<std::size_t>(own)];
    copy = releases_[static_cast<std::size_t>(task.release)];
    copy.users = 1;
    drop_release(task.release);
    task.release = own;
  }
  return releases_[static_cast<std::size_t>(task.release)].causes;
}

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
  Stream& stream = streams_[task.spec.stream.index()];
  if (stream.kind == StreamKind::kCompute) report_wait(index);
  Duration lead{0};
  if (stream.has_run) {
    const Duration gap = std::max(Duration(0), stream.gap - task.spec.gap_inside);
    lead = std::max(Duration(0), stream.last_end + gap - loop_.now());
  }
  if (lead > Duration(0)) {
    own_causes(task)[causes_.launch] += lead.count();
    if (stream.kind == StreamKind::kCompute) {
      observer_.on_wait({task.spec.tag, stream.device, DeviceId(), WaitCause::kLaunch, loop_.now(),
                         lead, releases_[static_cast<std::size_t>(task.release)].by.tag});
    }
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
  loop_.after(lead + task.spec.duration, [this, index] { end_task(index); });
}

void TaskGraph::end_task(std::int32_t index) {
  Task& task = tasks_[static_cast<std::size_t>(index)];
  CauseVector& causes = own_causes(task);
  if (task.spec.chain != nullptr) {
    for (const CauseShare& share : task.spec.chain->shares())
      causes[share.cause] += share.duration.count();
  } else {
    Duration booked{0};
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
void TaskGraph::finish(std::int32_t index, const Releaser& by, const Releaser& before) {
  Task& task = tasks_[static_cast<std::size_t>(index)];
  Stream& stream = streams_[task.spec.stream.index()];
  observer_.on_task(
      {task.spec.tag, stream.device, stream.kind, task.start, loop_.now(), task.spec.chain});
  ++tasks_run_;
  stream.last_end = loop_.now();
  stream.has_run = true;
  own_causes(task);
  const std::int32_t released = task.release;
  releases_[static_cast<std::size_t>(released)].by = by;
  releases_[static_cast<std::size_t>(released)].before = before;
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
  done(loop_.now(), causes);
  context_ = -1;
  drop_release(release);
}

void TaskGraph::mark_step_begin() {
  step_begin_ = loop_.now();
  context_ = -1;
}

void TaskGraph::report_idle_end(TaskTag tag) {
  for (const Stream& stream : streams_) {
    if (stream.kind != StreamKind::kCompute) continue;
    const Time since = std::max(stream.last_end, step_begin_);
    if (loop_.now() > since) {
      observer_.on_wait(
          {tag, stream.device, DeviceId(), WaitCause::kIdleEnd, since, loop_.now() - since, {}});
    }
  }
}

}  // namespace sim
