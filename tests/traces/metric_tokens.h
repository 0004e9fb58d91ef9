// Small tables of tokens for tests of metrics.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "sim/core/random.h"
#include "traces/metrics/token_table.h"

namespace sim::testing {

struct MetricTokens {
  LayerTokens tokens;
  Sequences sequences;
};

// requests[i][j]: the choices of request i at position j, top_k of them each.
inline MetricTokens make_tokens(
    int experts, int top_k, const std::vector<std::vector<std::vector<std::uint16_t>>>& requests) {
  MetricTokens out;
  out.tokens.experts = experts;
  out.tokens.top_k = top_k;
  for (const auto& request : requests) {
    out.sequences.unit.push_back(out.sequences.count());
    out.sequences.begin.push_back(out.sequences.begin.back());
    for (const auto& token : request) {
      out.tokens.choices.insert(out.tokens.choices.end(), token.begin(), token.end());
      ++out.tokens.tokens;
      ++out.sequences.begin.back();
    }
  }
  return out;
}

// Tokens that choose uniformly, in requests of the given lengths.
inline MetricTokens random_tokens(int experts, int top_k, const std::vector<int>& lengths,
                                  std::uint64_t seed) {
  RandomStream random(seed, "test/metrics");
  std::vector<std::uint16_t> all(static_cast<std::size_t>(experts));
  std::iota(all.begin(), all.end(), std::uint16_t{0});
  std::vector<std::vector<std::vector<std::uint16_t>>> requests;
  for (const int length : lengths) {
    requests.emplace_back();
    for (int t = 0; t < length; ++t) {
      random.shuffle(all);
      requests.back().emplace_back(all.begin(), all.begin() + top_k);
    }
  }
  return make_tokens(experts, top_k, requests);
}

}  // namespace sim::testing
