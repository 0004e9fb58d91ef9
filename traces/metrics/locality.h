// How many experts a token shares with an earlier one of its sequence.
#pragma once

#include "traces/metrics/token_table.h"

namespace sim {

// Over all pairs of tokens `lag` apart in one sequence: choices of the later token that the earlier
// one made too, over choices of the later token. 0 when there is no pair. REQUIRES: lag >= 1.
double shared_experts(const LayerTokens& tokens, const Sequences& sequences, int lag);

// The same for tokens drawn independently with the same popularity: sum p^2 / sum p, with p the
// share of tokens that choose an expert.
double shared_experts_if_independent(const LayerTokens& tokens);

}  // namespace sim
