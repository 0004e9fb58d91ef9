// Seeded synthetic routing: uniform or Zipf popularity, with the tokens' choices drawn one by one,
// or only counted above a token budget.
//
// Mock skew is not real routing (arXiv 2605.20982): tokens are independent of one another and
// layers of one another, popularity stays the same over all steps. Which expert is popular differs
// per layer: a named random stream permutes the ranks of each layer.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "traces/routing.h"
#include "traces/synthetic/popularity.h"

namespace sim {

enum class SyntheticKind { kUniform, kZipf };

struct SyntheticSpec {
  SyntheticKind kind = SyntheticKind::kZipf;
  double exponent = 0.8;             // kZipf: of the draw weights (popularity.h), 0..20
  std::optional<GroupLimit> groups;  // group-limited top-k
  // A step of more tokens (over all ranks) is counted, not drawn: the same mean per expert, see
  // `draw_counts`; description() says so.
  std::int64_t token_budget = std::int64_t{1} << 22;
};

// The routing of every (step, layer): each call depends on (spec, experts, top_k, seed, step,
// layer, rank, tokens of the rank) only. `experts` per routed layer; tokens_per_rank[r] >= 0.
// Throws Error when the spec cannot be: top-k above the experts, groups that do not divide them,
// ...
std::unique_ptr<RoutingSource> make_synthetic(const SyntheticSpec& spec, std::vector<int> experts,
                                              int top_k, std::vector<std::int64_t> tokens_per_rank,
                                              std::uint64_t seed);

// The share of tokens that choose each expert of a layer: what the counts converge to. Closed form
// by quadrature; with group-limited top-k estimated from 2^17 drawn tokens (an expert chosen by 3 %
// of tokens is then known to 2 % of that).
std::vector<double> synthetic_inclusion(const SyntheticSpec& spec, int layer, int experts,
                                        int top_k, std::uint64_t seed);

// What `simulate trace synth` writes. Either steps with source ranks, or requests with positions.
struct SyntheticTrace {
  std::string model;
  std::vector<int> experts;  // per routed layer
  int top_k = 0;
  // Steps: `steps` steps of tokens_per_rank tokens on each rank.
  int steps = 0;
  std::vector<std::int64_t> tokens_per_rank;
  // Requests (steps == 0): `requests` requests of min_positions..max_positions tokens, uniformly.
  std::int64_t requests = 0;
  std::int64_t min_positions = 1;
  std::int64_t max_positions = 1;
  // Requests only: with this probability a token keeps, in a layer, the experts of the token before
  // it in its request. Popularity stays the same; neighbours agree more.
  double repeat = 0;
};

// Writes a .moetrace whose provenance says "synthetic". Throws Error.
void write_synthetic(const SyntheticSpec& spec, const SyntheticTrace& trace, std::uint64_t seed,
                     const std::string& path);

}  // namespace sim
