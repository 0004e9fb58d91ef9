#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "sim/core/error.h"
#include "traces/synthetic/layer_draw.h"
#include "traces/trace_file.h"

namespace sim {
namespace {

constexpr std::int64_t kMostTokens = std::int64_t{1} << 32;  // of a written trace

void check_layout(const SyntheticTrace& trace) {
  std::int64_t tokens = 0;
  if (trace.steps > 0) {
    if (trace.tokens_per_rank.empty()) throw Error("steps need at least one rank");
    for (const std::int64_t n : trace.tokens_per_rank) {
      if (n < 0 || n > kMostTokens) throw Error(fmt::format("{} tokens on a rank", n));
      tokens += n;
      if (tokens > kMostTokens / trace.steps) {
        throw Error("a synthetic trace has at most 2^32 tokens");
      }
    }
    if (trace.repeat != 0) {
      throw Error("only tokens of requests can repeat the choices before them",
                  "leave repeat out, or give requests instead of steps");
    }
    return;
  }
  if (trace.requests < 1 || trace.min_positions < 1 || trace.max_positions < trace.min_positions) {
    throw Error(fmt::format("{} requests of {} to {} positions", trace.requests,
                            trace.min_positions, trace.max_positions),
                "give steps, or at least one request of at least one position");
  }
  if (trace.max_positions > kMostTokens / trace.requests) {
    throw Error("a synthetic trace has at most 2^32 tokens");
  }
  if (!(trace.repeat >= 0 && trace.repeat <= 1)) {
    throw Error(fmt::format("repeat is a probability, not {}", trace.repeat));
  }
}

class Drawer {
 public:
  Drawer(const SyntheticSpec& spec, const SyntheticTrace& trace, std::uint64_t seed)
      : k_(static_cast<std::size_t>(trace.top_k)),
        repeat_(trace.repeat),
        choices_(trace.experts.size() * k_) {
    for (std::size_t layer = 0; layer < trace.experts.size(); ++layer) {
      const int l = static_cast<int>(layer);
      draws_.emplace_back(layer_weights(spec, l, trace.experts[layer], seed), trace.top_k,
                          spec.groups);
      streams_.emplace_back(seed, fmt::format("synthetic/trace/layer {}", l));
    }
  }

  // The choices of the next token, layer after layer.
  const std::vector<std::uint16_t>& next(bool follows) {
    for (std::size_t layer = 0; layer < draws_.size(); ++layer) {
      const bool keep = follows && repeat_ > 0 && streams_[layer].uniform() < repeat_;
      if (!keep) draws_[layer].draw(streams_[layer], choices_.data() + layer * k_);
    }
    return choices_;
  }

 private:
  std::size_t k_;
  double repeat_;
  std::vector<TokenDraw> draws_;
  std::vector<RandomStream> streams_;
  std::vector<std::uint16_t> choices_;
};

}  // namespace

void write_synthetic(const SyntheticSpec& spec, const SyntheticTrace& trace, std::uint64_t seed,
                     const std::string& path) {
  check_synthetic(spec, trace.experts, trace.top_k);
  check_layout(trace);
  TraceHeader header;
  header.model = trace.model;
  header.experts = trace.experts;
  header.top_k = trace.top_k;
  header.has_steps = trace.steps > 0;
  header.provenance =
      fmt::format("synthetic, not recorded from a model: {}, seed {}", describe(spec), seed);
  if (trace.repeat > 0) {
    header.provenance += fmt::format(
        "; with probability {} a token keeps the experts of the token before it in "
        "its request, layer by layer",
        trace.repeat);
  }
  TraceWriter writer(path, header);
  Drawer drawer(spec, trace, seed);
  TokenRow row;
  if (trace.steps > 0) {
    for (int step = 0; step < trace.steps; ++step) {
      for (std::size_t rank = 0; rank < trace.tokens_per_rank.size(); ++rank) {
        for (std::int64_t t = 0; t < trace.tokens_per_rank[rank]; ++t) {
          row.step = step;
          row.source_rank = static_cast<std::int32_t>(rank);
          row.choices = drawer.next(false);
          writer.append(row);
        }
      }
    }
  } else {
    RandomStream lengths(seed, "synthetic/trace/lengths");
    for (std::int64_t request = 0; request < trace.requests; ++request) {
      const std::uint64_t spread =
          static_cast<std::uint64_t>(trace.max_positions - trace.min_positions) + 1;
      const std::int64_t length =
          trace.min_positions + static_cast<std::int64_t>(lengths.below(spread));
      for (std::int64_t position = 0; position < length; ++position) {
        row.request = request;
        row.position = position;
        row.choices = drawer.next(position > 0);
        writer.append(row);
      }
    }
  }
  writer.finish();
}

}  // namespace sim
