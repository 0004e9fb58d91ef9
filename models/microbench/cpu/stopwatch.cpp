#include "models/microbench/cpu/stopwatch.h"

#include <algorithm>
#include <chrono>

#include "sim/core/error.h"

namespace sim::microbench {

Timing timing_of(std::vector<double> seconds) {
  SIM_CHECK(!seconds.empty(), "something was timed");
  std::sort(seconds.begin(), seconds.end());
  const auto at = [&](double share) {
    return seconds[static_cast<std::size_t>(share * static_cast<double>(seconds.size() - 1))];
  };
  return {at(0.5), at(0.1), at(0.9), static_cast<std::int64_t>(seconds.size())};
}

Timing time_calls(const std::function<void(std::int64_t)>& run, std::int64_t copies,
                  const TimingPolicy& policy) {
  using Clock = std::chrono::steady_clock;
  std::int64_t call = 0;
  for (int i = 0; i < policy.warm_up; ++i) run(call++ % copies);
  std::vector<double> seconds;
  double total = 0;
  const auto enough = [&] {
    const auto repeats = static_cast<std::int64_t>(seconds.size());
    return repeats >= kMostRepeats ||
           (repeats >= policy.least_repeats && total >= policy.least_time_s);
  };
  while (!enough()) {
    const std::int64_t copy = call++ % copies;
    const Clock::time_point begin = Clock::now();
    run(copy);
    const Clock::time_point end = Clock::now();
    // A clock tick at least: a call of no time would be refused by whoever reads the file.
    seconds.push_back(std::max(std::chrono::duration<double>(end - begin).count(), 1e-9));
    total += seconds.back();
  }
  return timing_of(std::move(seconds));
}

}  // namespace sim::microbench
