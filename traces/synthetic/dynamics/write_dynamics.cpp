#include "traces/synthetic/dynamics/write_dynamics.h"

#include <fmt/format.h>

#include <vector>

#include "sim/core/error.h"
#include "traces/synthetic/dynamics/router_training.h"
#include "traces/synthetic/popularity.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

constexpr std::int64_t kMostTokens = std::int64_t{1} << 32;  // of a trace

}  // namespace

void write_dynamics(const DynamicsConstants& constants, const TrainingRun& run, int ranks,
                    const std::string& model, const std::string& path) {
  check_training_run(run);
  if (ranks < 1 || run.tokens_per_step % ranks != 0) {
    throw Error(fmt::format("{} tokens per step on {} ranks", run.tokens_per_step, ranks),
                "every rank has as many");
  }
  if (run.tokens_per_step > kMostTokens / run.steps) {
    throw Error("a synthetic trace has at most 2^32 tokens");
  }
  TraceHeader header;
  header.model = model;
  header.experts.assign(static_cast<std::size_t>(run.layers), run.experts);
  header.top_k = run.top_k;
  header.has_steps = true;
  header.provenance =
      fmt::format("synthetic, not recorded from a model: router dynamics, {}; constants {} ({})",
                  describe(run), constants.label, constants.provenance);
  TraceWriter writer(path, header);
  RouterTraining training(constants, run);
  RandomStream random(run.seed, "dynamics/tokens");
  const std::size_t top_k = static_cast<std::size_t>(run.top_k);
  std::vector<std::uint16_t> choices(static_cast<std::size_t>(run.layers) * top_k);
  TokenRow row;
  row.choices = choices;
  for (int step = 0; step < run.steps; ++step) {
    if (step > 0) training.advance();
    const AliasTable clusters(training.cluster_shares());
    std::vector<InclusionDraw> draws;  // layer-major
    for (int layer = 0; layer < run.layers; ++layer) {
      for (int c = 0; c < RouterTraining::kClusters; ++c) {
        draws.emplace_back(training.chosen(layer, c));
      }
    }
    row.step = step;
    for (std::int64_t t = 0; t < run.tokens_per_step; ++t) {
      row.source_rank = static_cast<std::int32_t>(t / (run.tokens_per_step / ranks));
      const std::size_t cluster = clusters.draw(random);
      for (std::size_t l = 0; l < static_cast<std::size_t>(run.layers); ++l) {
        draws[l * RouterTraining::kClusters + cluster].draw(random, choices.data() + l * top_k);
      }
      writer.append(row);
    }
  }
  writer.finish();
}

}  // namespace sim
