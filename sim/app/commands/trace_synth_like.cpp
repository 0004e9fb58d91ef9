#include "sim/app/commands/trace_synth_like.h"

#include <fmt/format.h>

#include <iostream>

#include "sim/app/catalog.h"
#include "sim/app/like_report.h"
#include "sim/core/error.h"
#include "traces/statistics.h"
#include "traces/synthetic/like/generate.h"

namespace sim {

namespace {

constexpr double kSecondsPerChoice = 6e-6;  // measured: 6.05 M choices fitted and drawn in 37 s
constexpr double kLongWait_s = 3;

// A fit says nothing until it is done; who waits should know for how long.
void announce(const std::string& trace) {
  const std::int64_t choices = read_info(trace).choices;
  const double seconds = static_cast<double>(choices) * kSecondsPerChoice;
  if (seconds > kLongWait_s)
    std::cerr << fmt::format("fitting to {} choices, some {:.0f} s\n", choices, seconds);
}

}  // namespace

void synth_like(const SynthLike& arguments) {
  const Catalog catalog;
  const std::string like = catalog.trace_file(arguments.like, "");
  LikeOptions options;
  options.seed = arguments.seed;
  if (arguments.report) {
    std::cout << like_report_text(like_report(like, options));
    return;
  }
  const TokenSequences trace = read_sequences(like);
  if (arguments.amount > 0 && arguments.in_steps != trace.header.has_steps) {
    throw Error(Place{like},
                fmt::format("the trace has {}", trace.header.has_steps ? "steps" : "requests"),
                fmt::format("--{} gives another number of them",
                            trace.header.has_steps ? "steps" : "requests"));
  }
  announce(like);
  const LikeModel model = fit_like(trace, options);
  write_like(model, arguments.like, arguments.amount, arguments.seed, arguments.out);
  const TraceInfo info = read_info(arguments.out);
  std::cout << fmt::format("{}: {} tokens, {} bytes ({:.2f} per choice)\n", arguments.out,
                           info.rows, info.file_bytes, info.bytes_per_choice)
            << like_summary(model);
}

}  // namespace sim
