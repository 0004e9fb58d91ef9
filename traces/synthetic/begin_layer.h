// What every generator does first in RoutingSource::fill: an empty layer for given tokens per rank.
#pragma once

#include <cstdint>
#include <vector>

#include "traces/routing.h"

namespace sim {

// No choices yet; every count is 0.
inline void begin_layer(const std::vector<std::int64_t>& tokens_per_rank, int experts,
                        bool per_token, LayerRouting& out) {
  out.ranks = static_cast<int>(tokens_per_rank.size());
  out.experts = experts;
  out.per_token = per_token;
  out.counts.assign(tokens_per_rank.size() * static_cast<std::size_t>(experts), 0);
  out.rank_begin.assign(1, 0);
  for (const std::int64_t tokens : tokens_per_rank) {
    out.rank_begin.push_back(out.rank_begin.back() + tokens);
  }
  out.choice_begin.clear();
  out.choices.clear();
}

// Room for k choices of every token, to be written from the front.
inline std::uint16_t* make_choices(std::size_t k, LayerRouting& out) {
  const std::size_t tokens = static_cast<std::size_t>(out.tokens());
  out.choice_begin.resize(tokens + 1);
  for (std::size_t t = 0; t <= tokens; ++t) {
    out.choice_begin[t] = static_cast<std::int64_t>(t * k);
  }
  out.choices.resize(tokens * k);
  return out.choices.data();
}

}  // namespace sim
