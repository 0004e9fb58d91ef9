// A trace made by a routing function: scores from the score model, choices from the gate, stored
// before any capacity.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "traces/gating/gating.h"

namespace sim {

struct GateTrace {
  std::string gate;
  // key=value: the gate's own keys; scores.KEY of score_model.h; domains=N; balance.term,
  // balance.coefficient.
  //
  // A balance term acts on a bias per layer and expert. Terms with a gradient: after each step the
  // bias, which is part of the logits, moves by -coefficient times the sum over tokens of the
  // gradient (the term is a mean over tokens). loss-free: its own rule with the coefficient as its
  // rate, on the bias that loss-free-bias and group-limited add for the selection only.
  std::vector<std::string> set;
  std::string model;
  int layers = 0;
  int experts = 0;
  int top_k = 0;  // default of the gate's k
  int steps = 0;
  int ranks = 0;
  std::int64_t tokens_per_rank = 0;
};

struct GateTraceReport {
  std::int64_t rows = 0;
  std::int64_t choices = 0;
  double choices_per_row = 0;            // mean over layers
  double first_imbalance = 0;            // max/mean over experts, mean over layers, first step
  double last_imbalance = 0;             // of the last step
  double score_columns = 0;              // per token and layer
  std::optional<CapacityRule> capacity;  // the gate's own rule, and what it would drop
  std::int64_t dropped_choices = 0;
};

// Writes a .moetrace with steps, source ranks and gate weights. Throws Error: a key is wrong, a row
// has more than 255 choices, or a step needs more than 1 GiB.
GateTraceReport synth_gate(const GateTrace& trace, std::uint64_t seed, const std::string& path);

}  // namespace sim
