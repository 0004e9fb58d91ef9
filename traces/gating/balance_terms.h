// Balance terms: what training adds to its loss (or does to its router) so that experts are used
// evenly. Each as a value on router scores, as a value on a trace where that can be known, and as a
// force: the gradient with respect to the router's logits.
//
// Notation: T tokens, E experts, k choices per token, p[t,e] = softmax of token t's logits,
// P_e = mean over tokens of p[t,e], C_e = choices of expert e, f_e = C_e / sum of C (so that f sums
// to 1 for every k). Coefficients (alpha, lambda) are not part of the values; a loss adds
// coefficient * value.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

namespace sim {

// ---- Plain functions over spans: what generation and router dynamics need. ----

// softmax of each row of `columns` logits. REQUIRES: out as long as logits.
void softmax_rows(std::span<const double> logits, int columns, std::span<double> out);
// P: the mean over rows. Zeros when there are none.
std::vector<double> mean_of_rows(std::span<const double> rows, int columns);
// f: counts over their sum. Zeros when the sum is 0.
std::vector<double> shares_of(std::span<const std::int64_t> counts);

// sum p log p of one row (0 log 0 = 0): 0 for a sure choice, -log E for a uniform one.
double negative_entropy(std::span<const double> probabilities);
// E * sum f_e P_e; 1 at uniform f or P. Switch (f of all choices), GShard (f of first choices).
double share_product(std::span<const double> f, std::span<const double> p_mean);
// (standard deviation / mean)^2 with the population's deviation. 0 when the mean is 0.
double squared_cv(std::span<const double> values);
// sum over e of (C_e / T - k / E)^2.
double variance_balance(std::span<const std::int64_t> counts, std::int64_t tokens, double top_k);

// A term that reaches the logits through probabilities only, d(term)/d(p[t,e]) = slope[e] for every
// token: adds scale * d(term)/d(logit) of one row to `out`, that is
//   scale * p_e * (slope_e - sum_i slope_i p_i).
// A row may stand for a whole cluster of tokens: `scale` is then the cluster's share of tokens.
void add_softmax_force(std::span<const double> slopes, std::span<const double> probabilities,
                       double scale, std::span<double> out);
// slope[e] = E * f[e] of the Switch (or GShard) loss with f held constant, as in training: counting
// has no gradient. With scale = 1/T per token (or the cluster's share) add_softmax_force gives the
// gradient of E * sum f_e P_e.
std::vector<double> switch_slopes(std::span<const double> f);

// Loss-free balancing (DeepSeek, arXiv 2408.15664): bias_e += rate * sign(mean load - load_e). The
// bias is added for the selection, not for the weight. A load equal to the mean moves nothing.
void loss_free_update(std::span<double> bias, std::span<const double> loads, double rate);

// ---- The table. ----

// One layer's scores and what was chosen from them. Columns beyond `experts` are null experts.
struct BalanceInput {
  std::int64_t tokens = 0;
  int experts = 0;
  int null_experts = 0;
  double top_k = 1;  // choices per token, nulls among them: their mean where they vary
  std::span<const double> logits;              // tokens * columns()
  std::span<const std::int64_t> counts;        // choices per column
  std::span<const std::int64_t> first_counts;  // of them first choices, per column
  // `load` only: standard deviation of the gate's noise; 0: 1/E, as Tutel takes it.
  double noise_deviation = 0;
  std::span<const double> expert_sizes;  // `size-weighted` only: parameters per expert, any unit

  int columns() const { return experts + null_experts; }
};

// What a trace shows of one layer. Add tokens one by one, or fill the counts of a histogram.
struct TraceBalance {
  explicit TraceBalance(int experts);
  // `choices` in order of preference; `weights` empty or as long. Weights are scaled to sum 1.
  void add(std::span<const std::uint16_t> choices, std::span<const float> weights);
  void add_counts(std::span<const std::int64_t> more, std::int64_t tokens_counted);

  int experts = 0;
  std::int64_t tokens = 0;
  std::vector<std::int64_t> counts;
  std::vector<std::int64_t> first_counts;  // all zero when only counts were added
  std::vector<double> weight_sums;
  std::int64_t weighted_tokens = 0;  // tokens that came with weights
  double weight_log_weight = 0;      // sum over tokens of sum w log w
  double mean_choices() const;       // per token; 0 without tokens
};

enum class TraceForm {
  kExact,       // counts are all it needs
  kWeights,     // exact from gate weights, for gates that are zero outside the chosen experts
  kProxy,       // a stand-in from counts, see the term's trace_note
  kNeedsScores  // a trace has only the chosen experts' weights
};
std::string_view to_text(TraceForm form);  // "exact", "exact with gate weights", "stand-in", ...

struct BalanceTerm {
  std::string_view name;
  std::string_view help;  // the formula, one line
  std::string_view source;
  // Null: loss-free has no loss; its value is that of its trace form.
  double (*value)(const BalanceInput& input);
  // Adds coefficient * d(value)/d(logits) to out[tokens * columns]. Null: there is no gradient.
  void (*add_force)(const BalanceInput& input, double coefficient, std::span<double> out);
  TraceForm trace_form;
  std::string_view trace_note;  // what the stand-in replaces, or what is missing
  // Nothing when the trace lacks what it needs (weights, first choices, tokens).
  std::optional<double> (*on_trace)(const TraceBalance& trace);
};

// Every term, in the order of the documentation.
std::span<const BalanceTerm> balance_terms();
// Throws Error with a suggestion.
const BalanceTerm& balance_term(std::string_view name);

}  // namespace sim
