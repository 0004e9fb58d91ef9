#include "models/microbench/measure.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sim/core/error.h"

namespace sim::microbench {

std::string to_text(const FailedCheck& failed) {
  const CheckResult& result = failed.result;
  if (std::isnan(result.worst_error)) {
    return fmt::format(
        "{}: {} has values that were not written, are NaN or are choices that differ",
        id_text(failed.what), result.where);
  }
  return fmt::format("{}: {} is off by {:.3g} of its largest value, {:.3g} is allowed",
                     id_text(failed.what), result.where, result.worst_error, result.tolerance);
}

Measured measure(Backend& backend, std::span<const KernelCase> cases, const TimingPolicy& policy,
                 Task task, const std::function<void(std::size_t)>& progress) {
  Measured measured;
  MeasurementFile& file = measured.file;
  file.written_by = kWrittenBy;
  file.backend = backend.name();
  file.device = backend.facts();
  file.method = policy;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const KernelCase& what = cases[i];
    const std::vector<std::string> mistakes = case_mistakes(what);
    SIM_CHECK(mistakes.empty(), "a listed case is whole: " + mistakes.front());
    const std::string reason = backend.unsupported(what);
    if (!reason.empty()) {
      const LeftOut left{what.kernel, reason};
      if (std::find(file.left_out.begin(), file.left_out.end(), left) == file.left_out.end()) {
        file.left_out.push_back(left);
      }
      progress(i + 1);
      continue;
    }
    const CheckResult result = backend.check(what);
    ++measured.checked;
    if (!result.passed()) {
      measured.failed.push_back({what, result});
    } else if (task == Task::kCheckAndTime) {
      const Timing timing = backend.time(what, policy);
      file.rows.push_back(
          {what, timing.median_s * 1e6, timing.p10_s * 1e6, timing.p90_s * 1e6, timing.repeats, 0});
    }
    progress(i + 1);
  }
  file.failed_checks = static_cast<std::int64_t>(measured.failed.size());
  return measured;
}

}  // namespace sim::microbench
