// Small inputs for the routing functions.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "sim/core/random.h"
#include "traces/gating/gating.h"

namespace sim::testing {

// Owns what a GateInput points to.
struct GateCase {
  std::vector<std::vector<double>> matrices;
  std::vector<std::int64_t> token_ids;
  std::vector<std::int32_t> source_ranks;
  std::vector<std::int32_t> domains;
  std::vector<double> expert_vectors;
  std::vector<double> bias;
  std::int64_t tokens = 0;
  int experts = 0;
  int step = 0;
  int layer = 0;
  std::uint64_t seed = 1;

  // Rows of logits of one matrix; the experts are the first matrix's columns.
  explicit GateCase(const std::vector<std::vector<double>>& rows) : GateCase() {
    add(rows);
    experts = static_cast<int>(rows.front().size());
  }
  GateCase() = default;
  GateCase& add(const std::vector<std::vector<double>>& rows) {
    matrices.emplace_back();
    for (const auto& row : rows)
      matrices.back().insert(matrices.back().end(), row.begin(), row.end());
    tokens = static_cast<std::int64_t>(rows.size());
    return *this;
  }

  GateInput input() const {
    GateInput in;
    in.tokens = tokens;
    in.experts = experts;
    in.scores.assign(matrices.begin(), matrices.end());
    in.token_ids = token_ids;
    in.source_ranks = source_ranks;
    in.domains = domains;
    in.expert_vectors = expert_vectors;
    in.bias = bias;
    in.seed = seed;
    in.step = step;
    in.layer = layer;
    return in;
  }
  GateShape shape() const {
    GateShape shape;
    shape.experts = experts;
    shape.top_k = 2;
    if (!source_ranks.empty()) shape.ranks = source_ranks.back() + 1;
    if (!domains.empty()) shape.domains = *std::max_element(domains.begin(), domains.end()) + 1;
    return shape;
  }
  GateChoices run(const std::string& gate, const std::vector<std::string>& set = {}) const {
    return route(make_gate(gate, set, shape()), input());
  }
};

// A row as "expert:weight" pairs.
inline std::vector<std::pair<int, double>> row(const GateChoices& choices, std::int64_t r) {
  std::vector<std::pair<int, double>> out;
  for (std::size_t i = 0; i < choices.of(r).size(); ++i)
    out.emplace_back(choices.of(r)[i], choices.weights_of(r)[i]);
  return out;
}

inline std::vector<std::int64_t> counts_of(const GateChoices& choices, int experts) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(experts), 0);
  for (const std::uint16_t e : choices.choices) ++counts[e];
  return counts;
}

// `tokens` rows of N(0, 1), matrices as the gate wants them.
inline GateCase random_case(const Gate& gate, int experts, std::int64_t tokens,
                            std::uint64_t seed) {
  GateCase c;
  c.experts = experts;
  c.tokens = tokens;
  c.seed = seed;
  RandomStream random(seed, "case");
  for (const int width : gate.score_widths) {
    c.matrices.emplace_back();
    for (std::int64_t i = 0; i < tokens * width; ++i) c.matrices.back().push_back(random.normal());
  }
  for (std::int64_t t = 0; t < tokens; ++t) {
    c.token_ids.push_back(static_cast<std::int64_t>(random.below(100)));
    c.source_ranks.push_back(static_cast<std::int32_t>(t * 4 / tokens));
    c.domains.push_back(static_cast<std::int32_t>(random.below(2)));
  }
  return c;
}

}  // namespace sim::testing
