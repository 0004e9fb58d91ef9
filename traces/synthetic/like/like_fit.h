// Inside the fit: popularity, then each layer by itself.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "traces/synthetic/like/blocks.h"
#include "traces/synthetic/like/like_model.h"

namespace sim {

// Where in the run each sequence lies, 0..1: by its step among the distinct steps, else by its own
// number.
std::vector<double> places_of(const std::vector<TokenSequence>& layout, bool has_steps);
std::size_t part_of(double place, std::size_t parts);

LikePopularity fit_popularity(const TokenSequences& trace, const std::vector<double>& places);
// Shares of tokens (sum top_k in each layer) that choose each expert of each layer.
std::vector<double> shares_at(const LikePopularity& popularity, const std::vector<int>& experts_of,
                              int top_k, double place, std::uint32_t tag);
// -ln(1 - share), scaled to sum 1 in each layer.
std::vector<float> rates_of(std::span<const double> shares, const std::vector<int>& experts_of);

// How much a layer's choices agree with what their sequence chose before, mean over tokens: the
// share of the token before's choices chosen again, and the sum over choices of
// count / (k (n + 16)).
using Agreement = std::array<double, 2>;
class PastChoices {
 public:
  PastChoices(std::size_t experts, std::size_t top_k)
      : counts_(padded(experts), 0), previous_(top_k, 0), top_k_(top_k) {}
  void start_sequence();
  // Multiplies each weight by 1 + keep[0] if the token before chose the expert + keep[1] count /
  // (n + 16) * inverse_share. REQUIRES: inverse_share is padded.
  void multiply(const std::array<float, 2>& keep, const float* inverse_share, float* weight) const;
  void agree(const std::uint16_t* choices, Agreement& sums) const;
  void add(const std::uint16_t* choices);

 private:
  double urn() const;
  std::vector<float> counts_;
  std::vector<std::uint16_t> previous_;
  std::size_t top_k_;
  std::int64_t tokens_ = 0;
};
std::vector<Agreement> agreements(const TokenSequences& trace);

struct LayerFit {
  LikeLayer layer;
  double log_likelihood = 0;  // sum over choices, nat, of the last pass
};

// Maximum likelihood by stochastic gradients (Adam), tokens in random order, choices of a token in
// a random one. `rates` are class_rates of the model.
LayerFit fit_layer(const TokenSequences& trace, const std::vector<std::uint16_t>& class_of_token,
                   const std::vector<float>& rates, std::size_t layer, std::size_t rank,
                   const LikeOptions& options);

}  // namespace sim
