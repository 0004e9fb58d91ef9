#include "sim/app/commands/trace_synth_like.h"

#include <fmt/format.h>

#include <iostream>

#include "sim/app/catalog.h"
#include "sim/app/like_report.h"
#include "sim/core/error.h"
#include "traces/statistics.h"
#include "traces/synthetic/like/generate.h"

namespace sim {

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
  const LikeModel model = fit_like(trace, options);
  write_like(model, arguments.like, arguments.amount, arguments.seed, arguments.out);
  const TraceInfo info = read_info(arguments.out);
  std::cout << fmt::format("{}: {} tokens, {} bytes ({:.2f} per choice)\n", arguments.out,
                           info.rows, info.file_bytes, info.bytes_per_choice)
            << like_summary(model);
}

}  // namespace sim
