#include "traces/metrics/caches.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numeric>
#include <vector>

#include "sim/core/error.h"

namespace sim {
namespace {

constexpr std::array kCacheRules = {
    CacheRuleName{CacheRule::kLru, "lru"},       CacheRuleName{CacheRule::kLfu, "lfu"},
    CacheRuleName{CacheRule::kFixed, "fixed"},   CacheRuleName{CacheRule::kSegment, "segment"},
    CacheRuleName{CacheRule::kBelady, "belady"},
};

constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();

double fixed_hit_rate(const LayerTokens& tokens, int size) {
  std::vector<std::int64_t> counts(static_cast<std::size_t>(tokens.experts), 0);
  for (const std::uint16_t expert : tokens.choices) ++counts[expert];
  std::sort(counts.begin(), counts.end(), std::greater<>());
  const std::size_t held = std::min(counts.size(), static_cast<std::size_t>(size));
  const std::int64_t hits =
      std::accumulate(counts.begin(), counts.begin() + static_cast<long>(held), std::int64_t{0});
  return static_cast<double>(hits) / static_cast<double>(tokens.choices.size());
}

// One cache over one sequence after the other. The resident with the least key is evicted; a rule
// is how keys change.
class Cache {
 public:
  Cache(const LayerTokens& tokens, CacheRule rule, int size, int window)
      : tokens_(tokens),
        rule_(rule),
        size_(static_cast<std::size_t>(size)),
        window_(window),
        key_(static_cast<std::size_t>(tokens.experts), 0),
        held_(static_cast<std::size_t>(tokens.experts), 0) {}

  // Hits of the tokens [first, end).
  std::int64_t run(std::int64_t first, std::int64_t end) {
    std::fill(key_.begin(), key_.end(), 0);
    for (const std::uint16_t expert : residents_) held_[expert] = 0;
    residents_.clear();
    if (rule_ == CacheRule::kBelady) find_next_uses(first, end);
    if (rule_ == CacheRule::kSegment) {
      for (std::int64_t t = first; t < std::min(end, first + window_); ++t) foresee(t);
    }
    std::int64_t hits = 0;
    std::uint64_t access = 0;
    for (std::int64_t t = first; t < end; ++t) {
      for (const std::uint16_t expert : tokens_.of(t)) {
        if (held_[expert] != 0) {
          ++hits;
        } else {
          admit(expert);
        }
        used(expert, access++);
      }
      if (rule_ == CacheRule::kSegment && t + window_ < end) foresee(t + window_);
    }
    return hits;
  }

 private:
  // Key of kLfu and kSegment: a number of uses above the time of the last one.
  static constexpr std::uint64_t kOneUse = std::uint64_t{1} << 40;

  void foresee(std::int64_t token) {
    for (const std::uint16_t expert : tokens_.of(token)) key_[expert] += kOneUse;
  }
  void used(std::uint16_t expert, std::uint64_t access) {
    const std::uint64_t uses = key_[expert] / kOneUse;
    switch (rule_) {
      case CacheRule::kLru:
        key_[expert] = access;
        break;
      case CacheRule::kLfu:
        key_[expert] = (uses + 1) * kOneUse + access;
        break;
      case CacheRule::kSegment:
        key_[expert] = (uses - 1) * kOneUse + access;
        break;
      case CacheRule::kBelady:
        key_[expert] = kNever - next_use_[access];
        break;
      case CacheRule::kFixed:
        SIM_CHECK(false, "a fixed cache evicts nothing");
    }
  }
  void admit(std::uint16_t expert) {
    held_[expert] = 1;
    if (residents_.size() < size_) {
      residents_.push_back(expert);
      return;
    }
    const auto least =
        std::min_element(residents_.begin(), residents_.end(),
                         [&](std::uint16_t a, std::uint16_t b) { return key_[a] < key_[b]; });
    held_[*least] = 0;
    *least = expert;
  }
  // next_use_[i]: the access after access i that asks for the same expert.
  void find_next_uses(std::int64_t first, std::int64_t end) {
    std::vector<std::uint16_t> asked;
    for (std::int64_t t = first; t < end; ++t) {
      const auto choices = tokens_.of(t);
      asked.insert(asked.end(), choices.begin(), choices.end());
    }
    next_use_.assign(asked.size(), kNever);
    std::vector<std::uint64_t> next(key_.size(), kNever);
    for (std::size_t i = asked.size(); i-- > 0;) {
      next_use_[i] = next[asked[i]];
      next[asked[i]] = i;
    }
  }

  const LayerTokens& tokens_;
  CacheRule rule_;
  std::size_t size_;
  std::int64_t window_;
  std::vector<std::uint64_t> key_;  // of each expert
  std::vector<char> held_;
  std::vector<std::uint16_t> residents_;
  std::vector<std::uint64_t> next_use_;
};

}  // namespace

std::span<const CacheRuleName> cache_rules() { return kCacheRules; }

double cache_hit_rate(const LayerTokens& tokens, const Sequences& sequences, CacheRule rule,
                      int size, int window) {
  SIM_CHECK(size >= 1 && window >= 1, "a cache holds an expert, a window a token");
  if (tokens.choices.empty()) return 0;
  if (rule == CacheRule::kFixed) return fixed_hit_rate(tokens, size);
  Cache cache(tokens, rule, size, window);
  std::int64_t hits = 0;
  for (std::size_t s = 0; s + 1 < sequences.begin.size(); ++s) {
    hits += cache.run(sequences.begin[s], sequences.begin[s + 1]);
  }
  return static_cast<double>(hits) / static_cast<double>(tokens.choices.size());
}

}  // namespace sim
