#include "traces/gating/balance_terms.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <string>

#include "sim/core/error.h"
#include "sim/input/suggestion.h"
#include "traces/gating/load_term.h"

namespace sim {
namespace {

std::vector<double> probabilities_of(const BalanceInput& in) {
  std::vector<double> p(in.logits.size());
  softmax_rows(in.logits, in.columns(), p);
  return p;
}

// Adds coefficient * gradient of a term with the same slopes for every token.
void add_force_of(const BalanceInput& in, std::span<const double> slopes, double coefficient,
                  std::span<double> out) {
  const std::vector<double> p = probabilities_of(in);
  const auto width = static_cast<std::size_t>(in.columns());
  const std::span<const double> all(p);
  for (std::size_t t = 0; t < p.size(); t += width)
    add_softmax_force(slopes, all.subspan(t, width), coefficient, out.subspan(t, width));
}

double per_token(const BalanceInput& in) {
  return in.tokens == 0 ? 0 : 1.0 / static_cast<double>(in.tokens);
}

// entropy: mean over tokens of sum p log p.
double entropy_value(const BalanceInput& in) {
  const std::vector<double> p = probabilities_of(in);
  const auto width = static_cast<std::size_t>(in.columns());
  double sum = 0;
  for (std::size_t t = 0; t < p.size(); t += width)
    sum += negative_entropy(std::span(p).subspan(t, width));
  return sum * per_token(in);
}

// d(sum p log p)/d(p_e) = log p_e + 1: the slopes differ from token to token.
void entropy_force(const BalanceInput& in, double coefficient, std::span<double> out) {
  const std::vector<double> p = probabilities_of(in);
  const auto width = static_cast<std::size_t>(in.columns());
  std::vector<double> slopes(width);
  for (std::size_t t = 0; t < p.size(); t += width) {
    for (std::size_t e = 0; e < width; ++e) slopes[e] = p[t + e] > 0 ? std::log(p[t + e]) : 0;
    add_softmax_force(slopes, std::span(p).subspan(t, width), coefficient * per_token(in),
                      out.subspan(t, width));
  }
}

double top_p_value(const BalanceInput& in) { return -entropy_value(in); }
void top_p_force(const BalanceInput& in, double coefficient, std::span<double> out) {
  entropy_force(in, -coefficient, out);
}

double variance_value(const BalanceInput& in) {
  return variance_balance(in.counts, in.tokens, in.top_k);
}

// Counting has no gradient: C_e / T is replaced by k * P_e, its value when choices follow p.
void variance_force(const BalanceInput& in, double coefficient, std::span<double> out) {
  std::vector<double> slopes = mean_of_rows(probabilities_of(in), in.columns());
  const double k = in.top_k;
  for (double& s : slopes) s = 2 * k * (k * s - k / in.columns());
  add_force_of(in, slopes, coefficient * per_token(in), out);
}

double switch_value(const BalanceInput& in) {
  return share_product(shares_of(in.counts), mean_of_rows(probabilities_of(in), in.columns()));
}
void switch_force(const BalanceInput& in, double coefficient, std::span<double> out) {
  add_force_of(in, switch_slopes(shares_of(in.counts)), coefficient * per_token(in), out);
}

double gshard_value(const BalanceInput& in) {
  return share_product(shares_of(in.first_counts),
                       mean_of_rows(probabilities_of(in), in.columns()));
}
void gshard_force(const BalanceInput& in, double coefficient, std::span<double> out) {
  add_force_of(in, switch_slopes(shares_of(in.first_counts)), coefficient * per_token(in), out);
}

double importance_value(const BalanceInput& in) {
  return squared_cv(mean_of_rows(probabilities_of(in), in.columns()));
}
void importance_force(const BalanceInput& in, double coefficient, std::span<double> out) {
  const std::vector<double> mean = mean_of_rows(probabilities_of(in), in.columns());
  add_force_of(in, squared_cv_slopes(mean), coefficient * per_token(in), out);
}

double log_sum_exp(std::span<const double> row) {
  const double greatest = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const double l : row) sum += std::exp(l - greatest);
  return greatest + std::log(sum);
}

double z_value(const BalanceInput& in) {
  const auto width = static_cast<std::size_t>(in.columns());
  double sum = 0;
  for (std::size_t t = 0; t < in.logits.size(); t += width) {
    const double z = log_sum_exp(in.logits.subspan(t, width));
    sum += z * z;
  }
  return sum * per_token(in);
}

void z_force(const BalanceInput& in, double coefficient, std::span<double> out) {
  const std::vector<double> p = probabilities_of(in);
  const auto width = static_cast<std::size_t>(in.columns());
  for (std::size_t t = 0; t < p.size(); t += width) {
    const double z = log_sum_exp(in.logits.subspan(t, width));
    for (std::size_t e = 0; e < width; ++e)
      out[t + e] += coefficient * per_token(in) * 2 * z * p[t + e];
  }
}

// f with every null expert at the mean of the nulls.
std::vector<double> bucketed_shares(const BalanceInput& in) {
  std::vector<double> f = shares_of(in.counts);
  if (in.null_experts == 0) return f;
  const auto first = f.begin() + in.experts;
  const double mean = std::accumulate(first, f.end(), 0.0) / in.null_experts;
  std::fill(first, f.end(), mean);
  return f;
}
double null_bucket_value(const BalanceInput& in) {
  return share_product(bucketed_shares(in), mean_of_rows(probabilities_of(in), in.columns()));
}
void null_bucket_force(const BalanceInput& in, double coefficient, std::span<double> out) {
  add_force_of(in, switch_slopes(bucketed_shares(in)), coefficient * per_token(in), out);
}

// f weighted by size over mean size; plain f when no sizes are given.
std::vector<double> sized_shares(const BalanceInput& in) {
  std::vector<double> f = shares_of(in.counts);
  if (in.expert_sizes.empty()) return f;
  SIM_CHECK(in.expert_sizes.size() == f.size(), "a size per expert");
  const double mean = std::accumulate(in.expert_sizes.begin(), in.expert_sizes.end(), 0.0) /
                      static_cast<double>(f.size());
  for (std::size_t e = 0; e < f.size(); ++e) f[e] *= in.expert_sizes[e] / mean;
  return f;
}
double size_weighted_value(const BalanceInput& in) {
  return share_product(sized_shares(in), mean_of_rows(probabilities_of(in), in.columns()));
}
void size_weighted_force(const BalanceInput& in, double coefficient, std::span<double> out) {
  add_force_of(in, switch_slopes(sized_shares(in)), coefficient * per_token(in), out);
}

// greatest load over mean load, less 1.
std::optional<double> violation(std::span<const std::int64_t> counts) {
  const std::vector<double> f = shares_of(counts);
  const double most = f.empty() ? 0 : *std::max_element(f.begin(), f.end());
  if (most == 0) return std::nullopt;
  return most * static_cast<double>(f.size()) - 1;
}
double loss_free_value(const BalanceInput& in) { return violation(in.counts).value_or(0); }

// ---- On a trace. ----

std::optional<double> entropy_on_trace(const TraceBalance& trace) {
  if (trace.weighted_tokens == 0) return std::nullopt;
  return trace.weight_log_weight / static_cast<double>(trace.weighted_tokens);
}
std::optional<double> variance_on_trace(const TraceBalance& trace) {
  if (trace.tokens == 0) return std::nullopt;
  return variance_balance(trace.counts, trace.tokens, trace.mean_choices());
}
std::optional<double> squared_shares(std::span<const std::int64_t> counts) {
  const std::vector<double> f = shares_of(counts);
  if (std::accumulate(f.begin(), f.end(), 0.0) == 0) return std::nullopt;
  return share_product(f, f);
}
std::optional<double> switch_on_trace(const TraceBalance& trace) {
  return squared_shares(trace.counts);
}
std::optional<double> gshard_on_trace(const TraceBalance& trace) {
  return squared_shares(trace.first_counts);
}
std::optional<double> importance_on_trace(const TraceBalance& trace) {
  if (trace.weighted_tokens == 0) return std::nullopt;
  return squared_cv(trace.weight_sums);
}
std::optional<double> load_on_trace(const TraceBalance& trace) {
  const std::vector<double> f = shares_of(trace.counts);
  if (std::accumulate(f.begin(), f.end(), 0.0) == 0) return std::nullopt;
  return squared_cv(f);
}
std::optional<double> loss_free_on_trace(const TraceBalance& trace) {
  return violation(trace.counts);
}
std::optional<double> nothing(const TraceBalance&) { return std::nullopt; }

constexpr std::array kTerms = {
    BalanceTerm{"entropy", "mean over tokens of sum p log p; minimising it spreads each token",
                "MoE survey, section on balance; sign fixed: minus the entropy, a loss",
                entropy_value, entropy_force, TraceForm::kWeights,
                "over the stored weights, scaled to sum 1", entropy_on_trace},
    BalanceTerm{"variance", "sum over experts of (C/T - k/E)^2",
                "MoE survey; printed for k = 1 as (C/N - 1/K)^2", variance_value, variance_force,
                TraceForm::kExact, "", variance_on_trace},
    BalanceTerm{"switch", "E * sum f P, f share of all choices, P mean probability; 1 is even",
                "Switch, arXiv 2101.03961, eq. 4; coefficient 1e-2 there", switch_value,
                switch_force, TraceForm::kProxy, "P replaced by f: E * sum f^2", switch_on_trace},
    BalanceTerm{"gshard", "E * sum f P, f share of first choices only",
                "GShard, arXiv 2006.16668, algorithm 1, in the scale of Tutel's code", gshard_value,
                gshard_force, TraceForm::kProxy, "P replaced by f of first choices",
                gshard_on_trace},
    BalanceTerm{"importance", "CV^2 over experts of the summed gate probabilities",
                "Shazeer 2017, arXiv 1701.06538, eq. 6; over all scores as in Tutel",
                importance_value, importance_force, TraceForm::kWeights,
                "Shazeer's sparse gates: CV^2 of the summed stored weights", importance_on_trace},
    BalanceTerm{"load", "CV^2 over experts of the summed P(noisy logit passes the k-th of others)",
                "Shazeer 2017, eq. 8-11; noise 1/E when none is given, as Tutel", load_value,
                load_force, TraceForm::kProxy, "CV^2 of the counts, which it smooths",
                load_on_trace},
    BalanceTerm{"z-loss", "mean over tokens of (log sum exp of the logits)^2",
                "ST-MoE, arXiv 2202.08906, eq. 5; coefficient 1e-3 there", z_value, z_force,
                TraceForm::kNeedsScores, "logits", nothing},
    BalanceTerm{"loss-free", "no loss: bias += rate * sign(mean load - load); value: max/mean - 1",
                "DeepSeek, arXiv 2408.15664; rate 1e-3 there", loss_free_value, nullptr,
                TraceForm::kExact, "", loss_free_on_trace},
    BalanceTerm{"null-bucket", "Switch over experts and nulls, each null at the mean of the nulls",
                "AdaMoE, arXiv 2406.13233", null_bucket_value, null_bucket_force,
                TraceForm::kNeedsScores, "choices of nulls and probabilities", nothing},
    BalanceTerm{"top-p-entropy", "mean over tokens of -sum p log p; minimising it keeps sets small",
                "Dynamic routing, arXiv 2403.07652; coefficient 1e-4 there", top_p_value,
                top_p_force, TraceForm::kNeedsScores, "all probabilities", nothing},
    BalanceTerm{"size-weighted", "E * sum f P size / mean size: big experts cost more",
                "HMoE, arXiv 2408.10681, parameter penalty (our normalisation)",
                size_weighted_value, size_weighted_force, TraceForm::kNeedsScores,
                "probabilities and sizes", nothing},
};

}  // namespace

std::span<const BalanceTerm> balance_terms() { return kTerms; }

const BalanceTerm& balance_term(std::string_view name) {
  std::vector<std::string> names;
  for (const BalanceTerm& term : kTerms) {
    if (term.name == name) return term;
    names.emplace_back(term.name);
  }
  throw Error(fmt::format("there is no balance term '{}'", name),
              suggest(std::string(name), names));
}

std::string_view to_text(TraceForm form) {
  switch (form) {
    case TraceForm::kExact:
      return "exact";
    case TraceForm::kWeights:
      return "exact with gate weights";
    case TraceForm::kProxy:
      return "stand-in";
    case TraceForm::kNeedsScores:
      return "needs scores";
  }
  return "";
}

}  // namespace sim
