// A named workload as a .moetrace of steps and source ranks.
#include <fmt/format.h>

#include <algorithm>

#include "sim/core/error.h"
#include "traces/synthetic/workloads.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

constexpr std::int64_t kMostTokens = std::int64_t{1} << 32;       // of a written trace
constexpr std::int64_t kMostStepChoices = std::int64_t{1} << 30;  // of a step: 2 GiB

}  // namespace

void write_workload(WorkloadSpec spec, const SyntheticTrace& trace, std::uint64_t seed,
                    const std::string& path) {
  if (trace.steps < 1) {
    throw Error("a workload is written as steps", "it says what ranks do in a step: give --steps");
  }
  if (trace.repeat != 0) throw Error("tokens of a workload's steps do not repeat");
  std::int64_t tokens = 0;
  for (const std::int64_t n : trace.tokens_per_rank) {
    if (n < 0 || n > kMostTokens) throw Error(fmt::format("{} tokens on a rank", n));
    tokens += n;
    if (tokens > kMostTokens / trace.steps) {
      throw Error("a synthetic trace has at most 2^32 tokens");
    }
  }
  const std::int64_t per_token = static_cast<std::int64_t>(trace.experts.size()) * trace.top_k;
  if (per_token > 0 && tokens > kMostStepChoices / per_token) {
    throw Error(fmt::format("a step of {} tokens over {} layers of top-{} needs more than 2 GiB",
                            tokens, trace.experts.size(), trace.top_k));
  }
  spec.token_budget = kMostTokens;  // a trace of tokens has no counts
  const std::unique_ptr<RoutingSource> source =
      make_workload(spec, trace.experts, trace.top_k, trace.tokens_per_rank, seed);
  TraceHeader header;
  header.model = trace.model;
  header.experts = trace.experts;
  header.top_k = trace.top_k;
  header.has_steps = true;
  header.provenance =
      fmt::format("synthetic, not recorded from a model: {}, seed {}", source->description(), seed);
  TraceWriter writer(path, header);
  TokenRow row;
  const auto k = static_cast<std::size_t>(trace.top_k);
  std::vector<LayerRouting> layers(trace.experts.size());
  std::vector<std::uint16_t> choices(layers.size() * k);
  for (int step = 0; step < trace.steps; ++step) {
    for (std::size_t l = 0; l < layers.size(); ++l) {
      source->fill(step, static_cast<int>(l), layers[l]);
    }
    row.step = step;
    for (int rank = 0; rank < layers.front().ranks; ++rank) {
      row.source_rank = rank;
      const std::int64_t end = layers.front().rank_begin[static_cast<std::size_t>(rank) + 1];
      for (std::int64_t t = end - layers.front().tokens_of(rank); t < end; ++t) {
        for (std::size_t l = 0; l < layers.size(); ++l) {
          std::copy_n(layers[l].choices.begin() + t * trace.top_k, k,
                      choices.begin() + static_cast<std::ptrdiff_t>(l * k));
        }
        row.choices = choices;
        writer.append(row);
      }
    }
  }
  writer.finish();
}

}  // namespace sim
