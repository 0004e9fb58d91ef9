// The choices of a routing function, step after step, on scores from the score model; a balance
// term, if any, moves biases between the steps.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "traces/gating/balance_terms.h"
#include "traces/gating/gating.h"
#include "traces/gating/score_model.h"
#include "traces/gating/synth_gate.h"

namespace sim {

struct BalanceRule {
  const BalanceTerm* term = nullptr;
  double coefficient = 0;
};

class GateGenerator {
 public:
  // `trace` has to outlive the generator. Throws Error: a key is wrong or a step is too large.
  GateGenerator(const GateTrace& trace, std::uint64_t seed);

  const Gate& gate() const { return gate_; }
  int domains() const { return domains_; }
  const std::vector<std::int32_t>& source_ranks() const { return source_ranks_; }  // per token
  // Of the last step.
  const std::vector<std::int64_t>& token_ids() const { return token_ids_; }
  const std::vector<std::int32_t>& token_domains() const { return token_domains_; }

  void restart();                        // back to the first step, biases at zero
  std::vector<GateChoices> next_step();  // of every layer

 private:
  GateChoices one_layer(int layer);
  void push(const GateInput& in, const GateChoices& choices, std::vector<double>& bias) const;
  void check_sizes(const ScoreModelSpec& spec) const;

  const GateTrace& trace_;
  std::uint64_t seed_;
  int domains_ = 1;
  std::optional<ScoreModel> scores_;
  Gate gate_;
  std::optional<BalanceRule> balance_;
  std::vector<std::int32_t> source_ranks_;
  std::vector<std::vector<double>> biases_;  // per layer; empty until the first push
  std::vector<std::int64_t> token_ids_;
  std::vector<std::int32_t> token_domains_;
  std::vector<std::vector<double>> matrices_;
  int step_ = -1;
};

}  // namespace sim
