// What a sequence chose before in one layer.
#include <algorithm>

#include "traces/synthetic/like/like_fit.h"

namespace sim {

void PastChoices::start_sequence() {
  std::fill(counts_.begin(), counts_.end(), 0.0F);
  tokens_ = 0;
}

double PastChoices::urn() const {
  return 1 / (static_cast<double>(top_k_) * (static_cast<double>(tokens_) + kUrnTokens));
}

void PastChoices::multiply(const std::array<float, 2>& keep, const float* inverse_share,
                           float* weight) const {
  if (tokens_ == 0) return;
  const auto of_count = static_cast<float>(keep[1] / (static_cast<double>(tokens_) + kUrnTokens));
  for (const std::uint16_t e : previous_)
    weight[e] *= 1 + keep[0] / (1 + of_count * counts_[e] * inverse_share[e]);
  for (std::size_t e = 0; e < counts_.size(); ++e)
    weight[e] *= 1 + of_count * counts_[e] * inverse_share[e];
}

void PastChoices::agree(const std::uint16_t* choices, Agreement& sums) const {
  if (tokens_ == 0) return;
  int again = 0;
  double counted = 0;
  for (std::size_t j = 0; j < top_k_; ++j) {
    for (const std::uint16_t before : previous_) again += before == choices[j] ? 1 : 0;
    counted += counts_[choices[j]];
  }
  sums[0] += again / static_cast<double>(top_k_);
  sums[1] += counted * urn();
}

void PastChoices::add(const std::uint16_t* choices) {
  std::copy_n(choices, top_k_, previous_.begin());
  for (const std::uint16_t e : previous_) counts_[e] += 1;
  ++tokens_;
}

std::vector<Agreement> agreements(const TokenSequences& trace) {
  std::vector<Agreement> means(trace.layers());
  for (std::size_t layer = 0; layer < trace.layers(); ++layer) {
    PastChoices past(static_cast<std::size_t>(trace.header.experts[layer]), trace.top_k());
    for (const TokenSequence& sequence : trace.sequences) {
      past.start_sequence();
      for (std::size_t t = 0; t < static_cast<std::size_t>(sequence.tokens); ++t) {
        const std::uint16_t* choices = trace.at(sequence.first_token + t, layer);
        past.agree(choices, means[layer]);
        past.add(choices);
      }
    }
    for (double& mean : means[layer]) mean /= static_cast<double>(trace.tokens());
  }
  return means;
}

}  // namespace sim
