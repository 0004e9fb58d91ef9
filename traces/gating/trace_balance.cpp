// What a trace shows of one layer, gathered token by token.
#include <cmath>
#include <numeric>

#include "sim/core/error.h"
#include "traces/gating/balance_terms.h"

namespace sim {

TraceBalance::TraceBalance(int experts_of_layer)
    : experts(experts_of_layer),
      counts(static_cast<std::size_t>(experts_of_layer), 0),
      first_counts(counts),
      weight_sums(counts.size(), 0.0) {}

void TraceBalance::add(std::span<const std::uint16_t> choices, std::span<const float> weights) {
  SIM_CHECK(weights.empty() || weights.size() == choices.size(), "a weight per choice");
  ++tokens;
  for (const std::uint16_t e : choices) ++counts[e];
  if (!choices.empty()) ++first_counts[choices.front()];
  const double sum = std::accumulate(weights.begin(), weights.end(), 0.0);
  if (!(sum > 0)) return;
  ++weighted_tokens;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const double w = weights[i] / sum;
    weight_sums[choices[i]] += w;
    if (w > 0) weight_log_weight += w * std::log(w);
  }
}

void TraceBalance::add_counts(std::span<const std::int64_t> more, std::int64_t tokens_counted) {
  SIM_CHECK(more.size() == counts.size(), "a count per expert");
  tokens += tokens_counted;
  for (std::size_t e = 0; e < counts.size(); ++e) counts[e] += more[e];
}

double TraceBalance::mean_choices() const {
  const auto sum = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  return tokens == 0 ? 0 : static_cast<double>(sum) / static_cast<double>(tokens);
}

}  // namespace sim
