#include "traces/synthetic/like/classes.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace sim {
namespace {

constexpr int kRounds = 12;  // assumed: of hard expectation-maximisation
// (assumed: weak, so that classes can part) Tokens of the whole trace's shares, while classes form.
constexpr double kScorePrior = 2;

std::vector<std::size_t> first_experts(const TraceHeader& header) {
  std::vector<std::size_t> first(header.experts.size() + 1, 0);
  for (std::size_t l = 0; l < header.experts.size(); ++l)
    first[l + 1] = first[l] + static_cast<std::size_t>(header.experts[l]);
  return first;
}

// The likeliest class of each token; `score` is [expert of any layer][class].
void assign(const TokenSequences& trace, const std::vector<std::size_t>& first,
            const std::vector<float>& score, const std::vector<float>& prior,
            std::vector<std::uint16_t>& class_of_token) {
  const std::size_t classes = prior.size();
  std::vector<float> sum(classes);
  for (std::size_t t = 0; t < trace.tokens(); ++t) {
    std::copy(prior.begin(), prior.end(), sum.begin());
    for (std::size_t l = 0; l < trace.layers(); ++l) {
      const std::uint16_t* choices = trace.at(t, l);
      for (std::size_t j = 0; j < trace.top_k(); ++j) {
        const float* row = score.data() + (first[l] + choices[j]) * classes;
        for (std::size_t c = 0; c < classes; ++c) sum[c] += row[c];
      }
    }
    const auto best = std::max_element(sum.begin(), sum.end());
    class_of_token[t] = static_cast<std::uint16_t>(best - sum.begin());
  }
}

}  // namespace

std::vector<double> class_shares(const TokenSequences& trace,
                                 const std::vector<std::uint16_t>& class_of_token,
                                 std::size_t classes, double prior) {
  const std::vector<std::size_t> first = first_experts(trace.header);
  const std::size_t experts = first.back();
  std::vector<double> counts(classes * experts, 0);
  std::vector<double> tokens(classes, 0);
  std::vector<double> all(experts, 0);
  for (std::size_t t = 0; t < trace.tokens(); ++t) {
    double* of = counts.data() + class_of_token[t] * experts;
    ++tokens[class_of_token[t]];
    for (std::size_t l = 0; l < trace.layers(); ++l)
      for (std::size_t j = 0; j < trace.top_k(); ++j) {
        const std::size_t e = first[l] + trace.at(t, l)[j];
        ++of[e];
        ++all[e];
      }
  }
  const auto every = static_cast<double>(trace.tokens());
  for (std::size_t c = 0; c < classes; ++c)
    for (std::size_t e = 0; e < experts; ++e)
      counts[c * experts + e] =
          (counts[c * experts + e] + prior * (all[e] + 0.5) / (every + 1)) / (tokens[c] + prior);
  return counts;
}

std::vector<std::uint16_t> find_classes(const TokenSequences& trace, std::size_t classes,
                                        std::uint64_t seed) {
  const std::vector<std::size_t> first = first_experts(trace.header);
  const std::size_t experts = first.back();
  std::vector<std::uint16_t> class_of_token(trace.tokens(), 0);
  if (classes <= 1) return class_of_token;
  // Starts from single tokens spread evenly over the trace at a random offset: each is the class of
  // those most like it.
  RandomStream random(seed, "synthetic/like/classes");
  std::vector<std::size_t> seeds(classes);
  const double stride = static_cast<double>(trace.tokens()) / static_cast<double>(classes);
  for (std::size_t c = 0; c < classes; ++c)
    seeds[c] =
        std::min(trace.tokens() - 1,
                 static_cast<std::size_t>((static_cast<double>(c) + random.uniform()) * stride));
  const std::vector<double> whole = class_shares(trace, class_of_token, 1, 0);
  std::vector<float> score(experts * classes);
  std::vector<float> prior(classes, 0);
  for (std::size_t e = 0; e < experts; ++e)
    for (std::size_t c = 0; c < classes; ++c)
      score[e * classes + c] = static_cast<float>(std::log(std::max(whole[e], 1e-9)));
  for (std::size_t c = 0; c < classes; ++c)
    for (std::size_t l = 0; l < trace.layers(); ++l)
      for (std::size_t j = 0; j < trace.top_k(); ++j)
        score[(first[l] + trace.at(seeds[c], l)[j]) * classes + c] = 0;
  for (int round = 0; round < kRounds; ++round) {
    assign(trace, first, score, prior, class_of_token);
    const std::vector<double> shares = class_shares(trace, class_of_token, classes, kScorePrior);
    std::vector<double> tokens(classes, 0);
    for (const std::uint16_t c : class_of_token) ++tokens[c];
    for (std::size_t c = 0; c < classes; ++c) {
      prior[c] =
          static_cast<float>(std::log((tokens[c] + 0.5) / static_cast<double>(trace.tokens())));
      for (std::size_t e = 0; e < experts; ++e)
        score[e * classes + c] = static_cast<float>(std::log(shares[c * experts + e]));
    }
  }
  std::vector<std::uint16_t> number(classes, 0);
  for (const std::uint16_t c : class_of_token) number[c] = 1;
  std::uint16_t used = 0;
  for (std::uint16_t& n : number) {
    const bool is_used = n == 1;
    n = used;
    if (is_used) ++used;
  }
  for (std::uint16_t& c : class_of_token) c = number[c];
  return class_of_token;
}

}  // namespace sim
