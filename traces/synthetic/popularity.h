// Which experts are popular: draw weights, what they mean for a token's top-k, and drawing it.
//
// A token draws k distinct experts one after another, each draw proportional to the weights of the
// experts not drawn yet (successive sampling; the same law as Gumbel top-k over log weights). The
// Zipf exponent s applies to these *draw weights*: the expert of rank i has weight i^-s. The share
// of tokens that choose an expert (its inclusion probability, at most 1) is flatter than the
// weights, because an expert can be chosen once per token; `inclusion_probabilities` gives it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "sim/core/random.h"

namespace sim {

// Weights of ranks 1..n: i^-exponent. Exponent 0 is uniform. REQUIRES: n > 0, exponent >= 0.
std::vector<double> zipf_weights(int n, double exponent);

// P(expert among the k drawn) of successive sampling, by quadrature over the exponential race: the
// k first of independent arrivals with rates w (relative error below 1e-6; the sum is scaled to k
// exactly). O(n k) per quadrature point. REQUIRES: weights > 0, 0 < k <= n.
std::vector<double> inclusion_probabilities(std::span<const double> weights, int k);

// DeepSeek-V3's node-limited routing: experts lie in `groups` equal groups, a group's score is the
// sum of its two best experts' scores, and only the `limit` best groups stay in the race
// (arXiv 2412.19437, section 2.1.2; two is its top-k over limit). Scores here are log weight +
// Gumbel noise, that is -ln of the arrival time of a race with rates w: a group's score is -ln of
// the product of its two first arrivals, so only arrivals that matter are drawn.
struct GroupLimit {
  int groups = 1;
  int limit = 1;
};

// Draws a token's experts, in order of choice.
class TokenDraw {
 public:
  TokenDraw(std::vector<double> weights, int k, std::optional<GroupLimit> groups);
  void draw(RandomStream& random, std::uint16_t* out);  // writes k distinct experts

 private:
  // One group's race, seen up to its first `arrived` arrivals.
  struct Group {
    AliasTable table;
    std::size_t first = 0;  // its experts are first .. first + size
    double total = 0;       // weight of all its experts
    double left = 0;        // of those that have not arrived yet
    double time = 0;        // of the last arrival
    std::size_t arrived = 0;
    double next_time = 0;  // the arrival that waits to be taken
    std::size_t next = 0;
  };
  void start_token();
  void draw_race(RandomStream& random, std::uint16_t* out);
  void arrive(Group& group, RandomStream& random);
  std::size_t draw_untaken(const AliasTable& table, std::size_t first, RandomStream& random);
  double untaken_weight(std::size_t first, std::size_t size) const;

  std::vector<double> weights_;
  AliasTable table_;
  int k_;
  std::optional<GroupLimit> limit_;
  std::vector<std::uint32_t> taken_;  // the token that took this expert last
  std::uint32_t token_ = 0;
  std::vector<Group> groups_;
  std::vector<std::pair<double, std::size_t>> order_;  // (first * second arrival, group)
  std::vector<std::pair<double, std::size_t>> early_;  // first arrivals of every group
};

// Draws tokens with given inclusion probabilities (sum k, each <= 1): systematic sampling over an
// order of experts that is shuffled anew every 16 tokens, so that each expert is chosen with
// exactly its probability.
class InclusionDraw {
 public:
  explicit InclusionDraw(std::span<const double> inclusion);  // sum is k up to rounding
  void draw(RandomStream& random, std::uint16_t* out);
  int k() const { return k_; }

 private:
  std::vector<double> inclusion_;
  std::vector<std::uint16_t> order_;
  std::vector<double> cumulative_;
  int k_;
  int left_ = 0;
};

// Inclusion probabilities from how often each expert was chosen: proportional to the counts, none
// above 1 (what an expert has too much goes to the others in proportion), sum k. Empty when fewer
// than k experts have a count above 0. REQUIRES: counts >= 0.
std::vector<double> inclusion_from_counts(std::span<const std::int64_t> counts, int k);

// How many of `tokens` tokens choose each expert: writes out[e], exact total tokens * k, 0 <=
// out[e]
// <= tokens. Up to 64 tokens are drawn with InclusionDraw. Above, each count is drawn as the
// binomial it is (by inversion below a mean of 16, else the rounded normal), then what the total is
// off is spread by variance, which is the normal law conditioned on its total. An approximation:
// dependence between experts is only that of the total. REQUIRES: inclusion sums to k.
void draw_counts(std::span<const double> inclusion, int k, std::int64_t tokens,
                 RandomStream& random, std::int64_t* out);

}  // namespace sim
