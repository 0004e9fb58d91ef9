// Popularity per layer, part of the run and tag, from counts: no gradients.
#include <algorithm>
#include <cmath>

#include "traces/synthetic/like/like_fit.h"

namespace sim {
namespace {

// A tag or a part of the run with few tokens is drawn towards the whole as if it had seen so many
// sequences of average length more: the tokens of one sequence are much alike.
constexpr double kPriorSequences = 2;
constexpr std::size_t kMostParts = 16;
constexpr std::size_t kLeastSequences = 4;  // of a part, and of a tag with a popularity of its own
constexpr int kBalancingRounds = 6;
constexpr double kMostShare = 0.9999;

using Counts = std::vector<std::vector<double>>;  // [part or tag][expert of any layer]

}  // namespace

std::size_t part_of(double place, std::size_t parts) {
  return std::min(parts - 1, static_cast<std::size_t>(place * static_cast<double>(parts)));
}

LikePopularity fit_popularity(const TokenSequences& trace, const std::vector<double>& places) {
  const std::size_t layers = trace.layers();
  const std::size_t k = trace.top_k();
  std::vector<std::size_t> first(layers + 1, 0);
  for (std::size_t l = 0; l < layers; ++l)
    first[l + 1] = first[l] + static_cast<std::size_t>(trace.header.experts[l]);
  const std::size_t experts = first[layers];
  const std::size_t tags = std::max<std::size_t>(1, trace.tags.size());
  const std::size_t moments = [&] {
    std::vector<double> sorted = places;
    std::sort(sorted.begin(), sorted.end());
    return static_cast<std::size_t>(std::unique(sorted.begin(), sorted.end()) - sorted.begin());
  }();
  const std::size_t parts = std::clamp<std::size_t>(moments / kLeastSequences, 1, kMostParts);

  Counts by_part(parts, std::vector<double>(experts, 0));
  Counts by_tag(tags, std::vector<double>(experts, 0));
  Counts tokens(parts, std::vector<double>(tags, 0));  // [part][tag]
  std::vector<std::size_t> sequences_of(tags, 0);
  for (std::size_t i = 0; i < trace.sequences.size(); ++i) {
    const TokenSequence& sequence = trace.sequences[i];
    const std::size_t part = part_of(places[i], parts);
    tokens[part][sequence.tag] += static_cast<double>(sequence.tokens);
    ++sequences_of[sequence.tag];
    for (std::size_t t = 0; t < static_cast<std::size_t>(sequence.tokens); ++t)
      for (std::size_t l = 0; l < layers; ++l)
        for (std::size_t j = 0; j < k; ++j) {
          const std::size_t e = first[l] + trace.at(sequence.first_token + t, l)[j];
          ++by_part[part][e];
          ++by_tag[sequence.tag][e];
        }
  }

  LikePopularity popularity;
  const auto all = static_cast<double>(trace.tokens());
  const double prior = kPriorSequences * all / static_cast<double>(trace.sequences.size());
  popularity.whole.assign(experts, 0);
  for (const std::vector<double>& counts : by_part)
    for (std::size_t e = 0; e < experts; ++e) popularity.whole[e] += counts[e];
  // Half a choice more for each expert: what was never chosen is rare, not impossible.
  for (double& share : popularity.whole) share = (share + 0.5) / (all + 1);
  popularity.parts.assign(parts, std::vector<double>(experts, 1));
  popularity.tags.resize(tags);
  for (std::size_t g = 0; g < tags; ++g)
    if (tags > 1 && sequences_of[g] >= kLeastSequences) popularity.tags[g].assign(experts, 1);

  // Iterative proportional fitting to both margins, each with its prior.
  const auto factor = [&](const std::vector<double>& factors, std::size_t e) {
    return factors.empty() ? 1.0 : factors[e];
  };
  for (int round = 0; round < kBalancingRounds; ++round) {
    for (std::size_t e = 0; e < experts; ++e) {
      const double share = popularity.whole[e];
      for (std::size_t p = 0; p < parts && parts > 1; ++p) {
        double expected = prior;
        for (std::size_t g = 0; g < tags; ++g)
          expected += tokens[p][g] * factor(popularity.tags[g], e);
        popularity.parts[p][e] = (by_part[p][e] + prior * share) / (expected * share);
      }
      for (std::size_t g = 0; g < tags; ++g) {
        if (popularity.tags[g].empty()) continue;
        double expected = prior;
        for (std::size_t p = 0; p < parts; ++p) expected += tokens[p][g] * popularity.parts[p][e];
        popularity.tags[g][e] = (by_tag[g][e] + prior * share) / (expected * share);
      }
    }
  }
  return popularity;
}

std::vector<double> shares_at(const LikePopularity& popularity, const std::vector<int>& experts_of,
                              int top_k, double place, std::uint32_t tag) {
  const std::vector<double>& part = popularity.parts[part_of(place, popularity.parts.size())];
  const std::vector<double>& of_tag = popularity.tags[tag];
  std::vector<double> shares(popularity.whole.size());
  std::size_t first = 0;
  for (const int count : experts_of) {
    const auto experts = static_cast<std::size_t>(count);
    double sum = 0;
    for (std::size_t e = first; e < first + experts; ++e) {
      shares[e] = popularity.whole[e] * part[e] * (of_tag.empty() ? 1 : of_tag[e]);
      sum += shares[e];
    }
    const double scale = static_cast<double>(top_k) / sum;
    for (std::size_t e = first; e < first + experts; ++e)
      shares[e] = std::min(1.0, shares[e] * scale);
    first += experts;
  }
  return shares;
}

std::vector<float> rates_of(std::span<const double> shares, const std::vector<int>& experts_of) {
  std::vector<float> rates(shares.size());
  std::size_t first = 0;
  for (const int count : experts_of) {
    const auto experts = static_cast<std::size_t>(count);
    double sum = 0;
    for (std::size_t e = first; e < first + experts; ++e)
      sum -= std::log1p(-std::min(kMostShare, shares[e]));
    for (std::size_t e = first; e < first + experts; ++e)
      rates[e] = static_cast<float>(-std::log1p(-std::min(kMostShare, shares[e])) / sum);
    first += experts;
  }
  return rates;
}

}  // namespace sim
