// How uneven and how wide batches of B tokens are. How a batch is formed is worth as much as its
// size, so each way has its name:
//   steps     a recorded step, all its ranks (its own size, not B)
//   requests  B requests at consecutive positions: the slots of the replay rule `requests`, on one
//             rank; every step of the replay is a batch. Sequences of a trace with steps serve as
//             requests.
//   shuffled  the tokens of the trace in a seeded order, cut into batches: independent tokens
#pragma once

#include <cstdint>
#include <vector>

#include "traces/metrics/token_table.h"

namespace sim {

// Token numbers of the batches, one after the other: batch i is [begin[i], begin[i + 1]).
struct Batches {
  std::vector<std::int64_t> tokens;
  std::vector<std::int64_t> begin = {0};
  std::int64_t count() const { return static_cast<std::int64_t>(begin.size()) - 1; }
};

// A mean over more batches than these tokens fill would tell nothing new.
inline constexpr std::int64_t kMostBatchedTokens = std::int64_t{1} << 20;

Batches step_batches(const Sequences& sequences);  // one per unit
// As many batches as the tokens of the trace (at most kMostBatchedTokens) fill, at least one; none
// when there are fewer than `size` requests, because the same request would be in a batch twice.
Batches request_batches(const Sequences& sequences, std::int64_t size, std::uint64_t seed);
// Full batches only, each token at most once, at most kMostBatchedTokens and one batch.
Batches shuffled_batches(std::int64_t tokens, std::int64_t size, std::uint64_t seed);

struct BatchFigures {
  double max_over_mean = 0;      // mean over batches
  double max_over_mean_p95 = 0;  // nearest rank
  double distinct_experts = 0;   // chosen by at least one token: mean over batches
};
// All 0 when there is no batch. Batches without a choice are left out.
BatchFigures batch_figures(const LayerTokens& tokens, const Batches& batches);

// Of batches whose max/mean are known; `distinct` is the sum of their distinct experts.
BatchFigures batch_figures(std::vector<double> max_over_means, double distinct);

}  // namespace sim
