#include "sim/app/run_failure.h"

#include <fmt/format.h>

#include "sim/workloads/kinds.h"

namespace sim {
namespace {

std::string time_text(Time time) { return format_duration(time.time_since_epoch()); }

}  // namespace

std::vector<MetricRecord> failure_metrics(const RunFailure& failure) {
  const double in_step = failure.lost_in_step_gpu_s();
  const double waiting = failure.lost_waiting_gpu_s();
  std::vector<MetricRecord> metrics = {
      {"lost_gpu_s", in_step + waiting, "GPU s"},
      {"lost_waiting_gpu_s", waiting, "GPU s"},
      {"stopped_device", static_cast<double>(failure.stopped.device.value()), ""},
      {"stopped_at_s", to_seconds(failure.stopped.stopped), "s"},
      {"waited_since_s", to_seconds(failure.stopped.waiting_since), "s"},
      {"aborted_at_s", to_seconds(failure.aborted()), "s"}};
  if (failure.stopped.noticed_by.valid()) {
    metrics.push_back(
        {"noticed_by_device", static_cast<double>(failure.stopped.noticed_by.value()), ""});
  }
  return metrics;
}

std::string failure_text(const RunFailure& failure) {
  const TaskGraph::StoppedDevice& stopped = failure.stopped;
  std::string text = fmt::format("FAILED      gpu {} stopped at {}; ", stopped.device.value(),
                                 time_text(stopped.stopped));
  if (stopped.noticed_by.valid()) {
    text += fmt::format(
        "gpu {} waited for it first, from {}, in {}{}\n", stopped.noticed_by.value(),
        time_text(stopped.waiting_since), kTaskKindNames[static_cast<std::size_t>(stopped.in.kind)],
        stopped.in.layer >= 0 ? " of layer " + std::to_string(stopped.in.layer) : std::string());
  } else {
    text += fmt::format("no exchange needed it, the other ranks had ended their step at {}\n",
                        time_text(stopped.waiting_since));
  }
  text += fmt::format(
      "            the time-out of {} struck at {} in step {}; {} step{} ended before\n",
      format_duration(failure.timeout), time_text(failure.aborted()), failure.steps_ended,
      failure.steps_ended, failure.steps_ended == 1 ? "" : "s");
  const double in_step = failure.lost_in_step_gpu_s();
  const double waiting = failure.lost_waiting_gpu_s();
  text += fmt::format(
      "lost        {:.6g} GPU s: {:.6g} in the step that never ended, {:.6g} waiting for the "
      "time-out\n",
      in_step + waiting, in_step, waiting);
  return text;
}

}  // namespace sim
