// What one choice of a token says about its others: in the next layer, and in the same one.
#pragma once

#include <cstdint>

#include "traces/metrics/token_table.h"

namespace sim {

// A choice of a token in one layer and a choice of the same token in the next, both picked at
// random: mutual information over the entropy of the next layer's choice (0: independent, 1: the
// first tells the second).
struct LayerCorrelation {
  double information = 0;
  // The same after the tokens of the next layer were dealt anew (seeded): what a finite number of
  // independent tokens shows. information - by_chance is what the layers really share.
  double by_chance = 0;
};
// Throws Error when a table of all pairs of experts needs more than 1 GiB. REQUIRES: as many tokens
// in both.
LayerCorrelation layer_correlation(const LayerTokens& tokens, const LayerTokens& next,
                                   std::uint64_t seed);

// Pairs of experts of one token in one layer against quasi-independence: pair (e, f) is expected
// a(e) a(f) times, with a such that every expert is in as many pairs as recorded.
struct PairCorrelation {
  double distance = 0;  // total variation distance: the share of pairs that lie elsewhere
  // What as many independent pairs show: the mean absolute deviation of Poisson counts. A little
  // more than independent tokens show, whose pairs of one token exclude one another.
  double by_chance = 0;
};
// All 0 when there is no pair. Throws Error as above.
PairCorrelation pair_correlation(const LayerTokens& tokens);

}  // namespace sim
