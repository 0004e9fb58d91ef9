// What to tell when no event is left though tasks are.
#include <algorithm>

#include "sim/core/task_graph.h"

namespace sim {

std::string TaskGraph::describe_stuck(
    const std::function<std::string(TaskTag, DeviceId)>& name) const {
  std::string text = std::to_string(live_) + " tasks never end: ";
  const std::size_t starved = network_.active();
  text += std::to_string(starved) + (starved == 1 ? " transfer has" : " transfers have") +
          " no bandwidth";
  for (const Task& task : tasks_) {
    if (task.state != State::kRunning || !task.spec.stream.valid()) continue;
    return text + "; the first is " +
           name(task.spec.tag, streams_[task.spec.stream.index()].device);
  }
  return text;
}

std::optional<TaskGraph::StoppedDevice> TaskGraph::stopped_device() const {
  std::optional<StoppedDevice> first;
  for (const Task& task : tasks_) {
    if (task.state != State::kStopped) continue;
    const Stream& stream = streams_[task.spec.stream.index()];
    const StoppedDevice found{stream.device, stream.stops, DeviceId(), loop_.now(), TaskTag{}};
    if (!first || found.stopped < first->stopped) first = found;
  }
  if (!first) return std::nullopt;
  // The earliest part that lacks one of a device that has stopped.
  bool noticed = false;
  for (const auto& collective : collectives_) {
    if (!collective->live) continue;
    for (const PartState& missing : collective->parts) {
      if (missing.entered) continue;
      const Task& task = tasks_[static_cast<std::size_t>(missing.task)];
      const Time stops = streams_[task.spec.stream.index()].stops;
      if (stops > loop_.now()) continue;
      for (const PartState& part : collective->parts) {
        if (!part.entered || part.done || part.device == missing.device) continue;
        if (noticed && std::max(part.entered_at, stops) >= first->waiting_since) continue;
        noticed = true;
        // Who came before the stop waited for a rank that was on its way until then.
        first = {missing.device, stops, part.device, std::max(part.entered_at, stops),
                 collective->tag};
      }
    }
  }
  return first;
}

}  // namespace sim
