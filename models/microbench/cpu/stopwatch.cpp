#include "models/microbench/cpu/stopwatch.h"

#include <algorithm>
#include <chrono>
#include <ctime>

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

namespace {

// Of this thread, while it had a core.
double own_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

double seconds_of_call(const std::function<void(std::int64_t)>& run, std::int64_t copy,
                       CallClock clock) {
  using Clock = std::chrono::steady_clock;
  // The steady clock is read inside the other, whose reading is a system call: undisturbed, the
  // steady time is the shorter one.
  const double own_begin = clock == CallClock::kSteadyOrOwn ? own_seconds() : 0;
  const Clock::time_point begin = Clock::now();
  run(copy);
  const double steady = std::chrono::duration<double>(Clock::now() - begin).count();
  const double own = clock == CallClock::kSteadyOrOwn ? own_seconds() - own_begin : steady;
  // A clock tick at least: a call of no time would be refused by whoever reads the file.
  return std::max(std::min(steady, own), 1e-9);
}

}  // namespace

Timing time_calls(const std::function<void(std::int64_t)>& run, std::int64_t copies,
                  const TimingPolicy& policy, CallClock clock) {
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
    seconds.push_back(seconds_of_call(run, call++ % copies, clock));
    total += seconds.back();
  }
  return timing_of(std::move(seconds));
}

}  // namespace sim::microbench
