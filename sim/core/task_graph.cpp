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
  Stream stream{device, kind, gap, -1, -1, loop_.now()};
  if (speeds_ != nullptr) stream.stops = speeds_->stops(device).value_or(Time::max());
  streams_.push_back(stream);
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
  if (slot < 0 || --releases_[static_cast<std::size_t>(slot)].users > 0) return;
  if (path_log_ != nullptr) path_log_->drop(releases_[static_cast<std::size_t>(slot)].record);
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
    if (path_log_ != nullptr) path_log_->share(copy.record);
    drop_release(task.release);
    task.release = own;
  }
  return releases_[static_cast<std::size_t>(task.release)].causes;
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
