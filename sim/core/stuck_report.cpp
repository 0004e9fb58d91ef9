// What to tell when no event is left though tasks are.
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

}  // namespace sim
