#include "traces/metrics/locality.h"

#include <vector>

#include "sim/core/error.h"

namespace sim {

double shared_experts(const LayerTokens& tokens, const Sequences& sequences, int lag) {
  SIM_CHECK(lag >= 1, "a token is compared with an earlier one");
  std::vector<std::int64_t> chosen_by(static_cast<std::size_t>(tokens.experts), -1);
  std::int64_t shared = 0;
  std::int64_t choices = 0;
  for (std::size_t s = 0; s + 1 < sequences.begin.size(); ++s) {
    for (std::int64_t t = sequences.begin[s] + lag; t < sequences.begin[s + 1]; ++t) {
      for (const std::uint16_t expert : tokens.of(t - lag)) chosen_by[expert] = t;
      for (const std::uint16_t expert : tokens.of(t)) {
        ++choices;
        if (chosen_by[expert] == t) ++shared;
      }
    }
  }
  return choices == 0 ? 0 : static_cast<double>(shared) / static_cast<double>(choices);
}

double shared_experts_if_independent(const LayerTokens& tokens) {
  if (tokens.choices.empty()) return 0;
  std::vector<double> counts(static_cast<std::size_t>(tokens.experts), 0);
  for (const std::uint16_t expert : tokens.choices) ++counts[expert];
  double squares = 0;
  for (const double c : counts) squares += c * c;
  return squares / static_cast<double>(tokens.tokens) / static_cast<double>(tokens.choices.size());
}

}  // namespace sim
