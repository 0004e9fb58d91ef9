// The rows per expert that a benchmark drew: made again by the rule it published, since tables hold
// times and not rows.
//
// Power law (aiconfigurator, collector/helper.py, as aiconfigurator_moe_skew.yaml of the reference
// data tells it): every expert's load is x = ((x1^(1-a) - x0^(1-a)) u + x0^(1-a))^(1/(1-a)), x0 =
// 1, x1 = 0.8 tokens, or 0.01 to 2 where choices are fewer than experts; scaled to the choices,
// rounded, at most one row of a token per expert; then the rank with most rows is the one that was
// timed. The tables average five draws with seeds that nobody kept: ours are ten of the same law.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace sim {

struct SyntheticRouting {
  double exponent = 0;      // of the power law; 0: balanced
  std::int64_t tokens = 0;  // of all ranks; 0: nothing to draw
  std::int64_t top_k = 0;
  std::int64_t experts = 0;  // of the model
  std::int64_t ranks = 1;
  // EPLB: experts and copies of the heaviest fill the slots, packed onto the ranks; 0: no balancer,
  // expert e lives on rank e / (experts / ranks).
  std::int64_t slots = 0;
};

// Rows per local slot of the timed rank, one vector per draw (a single one when balanced).
// Deterministic: the seed is the question itself.
// REQUIRES: tokens, top_k, experts > 0; ranks divide experts and slots.
std::vector<std::vector<std::int64_t>> draw_rows(const SyntheticRouting& routing);

}  // namespace sim
