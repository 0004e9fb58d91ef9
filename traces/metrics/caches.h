// Hit rates of a cache of experts of one layer, fed with the choices of a sequence token by token,
// a token's experts in the order of the trace.
//
// Every sequence starts with an empty cache; a missed expert is always admitted. Evicted is:
//   lru      the expert used longest ago
//   lfu      the one used least often since the sequence began (of equal ones, longest ago)
//   segment  SCH(m, rho) of arXiv 2505.16056: the one used least in the m tokens from this one on,
//            uses already passed not counted (of equal ones, longest ago)
//   belady   the one whose next use lies farthest ahead: no cache that always admits does better
// A fixed cache holds the most popular experts of all sequences and changes nothing.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "traces/metrics/token_table.h"

namespace sim {

enum class CacheRule { kLru, kLfu, kFixed, kSegment, kBelady };

struct CacheRuleName {
  CacheRule rule;
  std::string_view name;
};
std::span<const CacheRuleName> cache_rules();

// Hits over choices, of all sequences together. `window` is the m of kSegment, else unused.
// O(choices + misses x size). REQUIRES: 1 <= size; window >= 1 for kSegment.
double cache_hit_rate(const LayerTokens& tokens, const Sequences& sequences, CacheRule rule,
                      int size, int window = 1);

}  // namespace sim
