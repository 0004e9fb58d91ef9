#include "models/microbench/reference/routing.h"

#include <algorithm>
#include <cmath>

#include "models/microbench/reference/array_size.h"
#include "sim/core/random.h"

namespace sim::reference {

namespace {

// Keeps `best` sorted by falling logit while one more expert is offered.
template <class T>
void choose(std::span<const T> logits, std::span<std::int32_t> best) {
  const auto k = best.size();
  std::size_t filled = 0;
  for (std::size_t e = 0; e < logits.size(); ++e) {
    std::size_t at = filled;
    while (at > 0 && logits[e] > logits[static_cast<std::size_t>(best[at - 1])]) --at;
    if (at == k) continue;
    if (filled < k) ++filled;
    for (std::size_t i = filled - 1; i > at; --i) best[i] = best[i - 1];
    best[at] = static_cast<std::int32_t>(e);
  }
}

template <class T>
T sigmoid(T value) {
  return T(1) / (T(1) + std::exp(-value));
}

template <class T>
std::span<T> row(std::span<T> all, std::int64_t index, std::int64_t width) {
  return all.subspan(static_cast<std::size_t>(index * width), static_cast<std::size_t>(width));
}

}  // namespace

Gate gate_of(std::string_view word) {
  SIM_CHECK(word == "softmax" || word == "sigmoid", "gates were checked with the case");
  return word == "softmax" ? Gate::kSoftmax : Gate::kSigmoid;
}

template <class T>
void top_k(const TopKShape& s, std::span<const T> logits, std::span<std::int32_t> choices,
           std::span<T> weights) {
  SIM_CHECK(s.top_k >= 1 && s.top_k <= s.experts, "a token chooses among the experts there are");
  check_sizes({{logits.size(), s.tokens * s.experts},
               {choices.size(), s.tokens * s.top_k},
               {weights.size(), s.tokens * s.top_k}});
  for (std::int64_t t = 0; t < s.tokens; ++t) {
    const auto scores = row(logits, t, s.experts);
    const auto chosen = row(choices, t, s.top_k);
    const auto weight = row(weights, t, s.top_k);
    choose<T>(scores, chosen);
    // The softmax over all experts divided by its sum over the chosen is the softmax over these.
    const T most = scores[static_cast<std::size_t>(chosen[0])];
    T sum = 0;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      const T score = scores[static_cast<std::size_t>(chosen[i])];
      weight[i] = s.gate == Gate::kSoftmax ? std::exp(score - most) : sigmoid(score);
      sum += weight[i];
    }
    for (T& value : weight) value /= sum;
  }
}

// softmax: dl_i = w_i (dw_i - sum_j w_j dw_j). sigmoid, s = sigmoid(l), S = sum s:
// dl_i = s_i (1 - s_i) / S (dw_i - sum_j w_j dw_j) = w_i (1 - s_i) (dw_i - sum_j w_j dw_j).
template <class T>
void top_k_backward(const TopKShape& s, std::span<const T> logits,
                    std::span<const std::int32_t> choices, std::span<const T> weights,
                    std::span<const T> dweights, std::span<T> dlogits) {
  check_sizes({{logits.size(), s.tokens * s.experts},
               {choices.size(), s.tokens * s.top_k},
               {weights.size(), s.tokens * s.top_k},
               {dweights.size(), s.tokens * s.top_k},
               {dlogits.size(), s.tokens * s.experts}});
  for (std::int64_t t = 0; t < s.tokens; ++t) {
    const auto scores = row(logits, t, s.experts);
    const auto chosen = row(choices, t, s.top_k);
    const auto weight = row(weights, t, s.top_k);
    const auto dweight = row(dweights, t, s.top_k);
    const auto out = row(dlogits, t, s.experts);
    std::fill(out.begin(), out.end(), T(0));
    T mean = 0;
    for (std::size_t i = 0; i < chosen.size(); ++i) mean += weight[i] * dweight[i];
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      const auto e = static_cast<std::size_t>(chosen[i]);
      const T slope = s.gate == Gate::kSoftmax ? T(1) : T(1) - sigmoid(scores[e]);
      out[e] = weight[i] * slope * (dweight[i] - mean);
    }
  }
}

void order_by_expert(std::span<const std::int32_t> choices, std::int64_t experts,
                     ExpertOrder& order) {
  order.offsets.assign(static_cast<std::size_t>(experts) + 1, 0);
  order.source.resize(choices.size());
  order.position.resize(choices.size());
  for (const std::int32_t expert : choices) {
    SIM_CHECK(expert >= 0 && expert < experts, "a choice names an expert");
    ++order.offsets[static_cast<std::size_t>(expert) + 1];
  }
  for (std::size_t e = 1; e < order.offsets.size(); ++e) order.offsets[e] += order.offsets[e - 1];
  // offsets[e] walks to the end of its expert while rows are dealt, and is then moved back.
  for (std::size_t i = 0; i < choices.size(); ++i) {
    const auto at = order.offsets[static_cast<std::size_t>(choices[i])]++;
    order.source[static_cast<std::size_t>(at)] = static_cast<std::int32_t>(i);
    order.position[i] = static_cast<std::int32_t>(at);
  }
  for (std::size_t e = order.offsets.size() - 1; e > 0; --e) {
    order.offsets[e] = order.offsets[e - 1];
  }
  order.offsets[0] = 0;
}

template <class T>
void permute(const PermuteShape& s, const ExpertOrder& order, std::span<const T> x,
             std::span<T> rows) {
  check_sizes({{x.size(), s.tokens * s.hidden}, {rows.size(), s.tokens * s.top_k * s.hidden}});
  for (std::size_t r = 0; r < order.source.size(); ++r) {
    const auto from = row(x, order.source[r] / s.top_k, s.hidden);
    std::copy(from.begin(), from.end(), row(rows, static_cast<std::int64_t>(r), s.hidden).begin());
  }
}

template <class T>
void permute_backward(const PermuteShape& s, const ExpertOrder& order, std::span<const T> drows,
                      std::span<T> dx) {
  check_sizes({{dx.size(), s.tokens * s.hidden}, {drows.size(), s.tokens * s.top_k * s.hidden}});
  for (std::int64_t t = 0; t < s.tokens; ++t) {
    const auto out = row(dx, t, s.hidden);
    std::fill(out.begin(), out.end(), T(0));
    for (std::int64_t slot = 0; slot < s.top_k; ++slot) {
      const auto flat = static_cast<std::size_t>(t * s.top_k + slot);
      const auto in = row(drows, order.position[flat], s.hidden);
      for (std::size_t h = 0; h < out.size(); ++h) out[h] += in[h];
    }
  }
}

template <class T>
void unpermute(const PermuteShape& s, const ExpertOrder& order, std::span<const T> rows,
               std::span<const T> weights, std::span<T> y) {
  check_sizes({{y.size(), s.tokens * s.hidden},
               {weights.size(), s.tokens * s.top_k},
               {rows.size(), s.tokens * s.top_k * s.hidden}});
  for (std::int64_t t = 0; t < s.tokens; ++t) {
    const auto out = row(y, t, s.hidden);
    std::fill(out.begin(), out.end(), T(0));
    for (std::int64_t slot = 0; slot < s.top_k; ++slot) {
      const auto flat = static_cast<std::size_t>(t * s.top_k + slot);
      const auto in = row(rows, order.position[flat], s.hidden);
      const T weight = weights[flat];
      for (std::size_t h = 0; h < out.size(); ++h) out[h] += weight * in[h];
    }
  }
}

template <class T>
void unpermute_backward(const PermuteShape& s, const ExpertOrder& order, std::span<const T> rows,
                        std::span<const T> weights, std::span<const T> dy, std::span<T> drows,
                        std::span<T> dweights) {
  check_sizes({{dy.size(), s.tokens * s.hidden},
               {weights.size(), s.tokens * s.top_k},
               {dweights.size(), s.tokens * s.top_k},
               {rows.size(), s.tokens * s.top_k * s.hidden},
               {drows.size(), s.tokens * s.top_k * s.hidden}});
  for (std::size_t flat = 0; flat < order.position.size(); ++flat) {
    const auto in = row(dy, static_cast<std::int64_t>(flat) / s.top_k, s.hidden);
    const auto value = row(rows, order.position[flat], s.hidden);
    const auto out = row(drows, order.position[flat], s.hidden);
    T sum = 0;
    for (std::size_t h = 0; h < out.size(); ++h) {
      out[h] = weights[flat] * in[h];
      sum += value[h] * in[h];
    }
    dweights[flat] = sum;
  }
}

std::vector<std::int32_t> choices_with_rows(std::span<const std::int64_t> rows, std::int64_t tokens,
                                            std::int64_t top_k, std::uint64_t seed) {
  std::vector<std::int32_t> dealt;
  dealt.reserve(static_cast<std::size_t>(tokens * top_k));
  for (std::size_t e = 0; e < rows.size(); ++e) {
    SIM_CHECK(rows[e] >= 0 && rows[e] <= tokens, "an expert has at most a row of every token");
    dealt.insert(dealt.end(), static_cast<std::size_t>(rows[e]), static_cast<std::int32_t>(e));
  }
  SIM_CHECK(static_cast<std::int64_t>(dealt.size()) == tokens * top_k,
            "the rows of all experts are the tokens' choices");
  std::vector<std::int64_t> order(static_cast<std::size_t>(tokens));
  for (std::size_t t = 0; t < order.size(); ++t) order[t] = static_cast<std::int64_t>(t);
  RandomStream random(seed, "microbench/choices");
  random.shuffle(order);
  std::vector<std::int32_t> choices(dealt.size());
  for (std::size_t i = 0; i < dealt.size(); ++i) {
    const auto token = static_cast<std::size_t>(order[i % order.size()]);
    choices[token * static_cast<std::size_t>(top_k) + i / order.size()] = dealt[i];
  }
  return choices;
}

#define MOE_INSTANTIATE(T)                                                                         \
  template void top_k<T>(const TopKShape&, std::span<const T>, std::span<std::int32_t>,            \
                         std::span<T>);                                                            \
  template void top_k_backward<T>(const TopKShape&, std::span<const T>,                            \
                                  std::span<const std::int32_t>, std::span<const T>,               \
                                  std::span<const T>, std::span<T>);                               \
  template void permute<T>(const PermuteShape&, const ExpertOrder&, std::span<const T>,            \
                           std::span<T>);                                                          \
  template void permute_backward<T>(const PermuteShape&, const ExpertOrder&, std::span<const T>,   \
                                    std::span<T>);                                                 \
  template void unpermute<T>(const PermuteShape&, const ExpertOrder&, std::span<const T>,          \
                             std::span<const T>, std::span<T>);                                    \
  template void unpermute_backward<T>(const PermuteShape&, const ExpertOrder&, std::span<const T>, \
                                      std::span<const T>, std::span<const T>, std::span<T>,        \
                                      std::span<T>);
MOE_INSTANTIATE(float)
MOE_INSTANTIATE(double)
#undef MOE_INSTANTIATE

}  // namespace sim::reference
