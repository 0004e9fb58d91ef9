// Every case of a list on a backend: checked, timed, collected into a measurement file.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "models/calibration/measurement_file.h"
#include "models/microbench/backend.h"

namespace sim::microbench {

inline constexpr const char* kWrittenBy = "microbench 0.1.0";

struct FailedCheck {
  KernelCase what;
  CheckResult result;
};
// "gemm vendor fp32 ...: output is off by 0.5 of its largest value, 1e-05 is allowed"
std::string to_text(const FailedCheck& failed);

struct Measured {
  MeasurementFile file;  // complete but for the date
  std::vector<FailedCheck> failed;
  std::int64_t checked = 0;
};

enum class Task { kCheckAndTime, kCheckOnly };

// Cases that the backend does not support are named in left_out, once per kernel and reason; cases
// whose check fails are counted and have no row. progress is told the number of cases done.
Measured measure(Backend& backend, std::span<const KernelCase> cases, const TimingPolicy& policy,
                 Task task, const std::function<void(std::size_t)>& progress);

}  // namespace sim::microbench
