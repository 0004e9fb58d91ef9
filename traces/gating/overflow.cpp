#include "traces/gating/overflow.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "sim/core/error.h"

namespace sim {
namespace {

constexpr std::array kKinds = {
    CapacityWord{"fixed", "ceil(factor * top-k * tokens / experts) rows per expert"},
    CapacityWord{"adaptive",
                 "the fullest expert over the mean, which drops nothing; at most cap (Tutel)"},
    CapacityWord{"dropless", "no capacity"},
};
constexpr std::array kPriorities = {
    CapacityWord{"order", "first choices in token order, then second choices (GShard, Switch)"},
    CapacityWord{"score", "tokens with the greatest gate weight first (batch prioritized, V-MoE)"},
};
constexpr std::array kScopes = {
    CapacityWord{"together", "one capacity for the tokens of all source ranks"},
    CapacityWord{"source-rank", "a capacity per source rank (GShard's groups)"},
};

constexpr std::int64_t kUnlimited = std::numeric_limits<std::int64_t>::max();

struct Limit {
  std::int64_t capacity = kUnlimited;
  double factor = 0;
};

// `fullest`: choices on the fullest expert of the group.
Limit limit_of(const CapacityRule& rule, std::int64_t fullest, std::int64_t tokens, int top_k,
               int experts) {
  if (rule.kind == CapacityKind::kFixed) {
    return {expert_capacity(rule.factor, tokens, top_k, experts), rule.factor};
  }
  const double slots = static_cast<double>(tokens) * top_k;
  const double least = slots > 0 ? static_cast<double>(fullest) * experts / slots : 0;
  if (rule.cap && least > *rule.cap) {
    return {expert_capacity(*rule.cap, tokens, top_k, experts), *rule.cap};
  }
  return {fullest, least};
}

// Token numbers in the order in which they claim places.
void claim_order(const ChoiceView& view, OverflowPriority priority,
                 std::vector<std::int64_t>& order) {
  if (priority == OverflowPriority::kOrder) return;
  const auto score = [&](std::int64_t token) {
    const auto first = view.weights.begin() + view.choice_begin[static_cast<std::size_t>(token)];
    const auto last = view.weights.begin() + view.choice_begin[static_cast<std::size_t>(token) + 1];
    return first == last ? -std::numeric_limits<float>::infinity() : *std::max_element(first, last);
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::int64_t a, std::int64_t b) { return score(a) > score(b); });
}

// Drops what the tokens [first, last) have too much.
class Group {
 public:
  Group(const ChoiceView& view, std::int64_t first, std::int64_t last, CapacityResult& result)
      : view_(view), result_(result), order_(static_cast<std::size_t>(last - first)) {
    std::iota(order_.begin(), order_.end(), first);
  }

  void apply(int top_k, const CapacityRule& rule) {
    std::vector<std::int64_t> load(static_cast<std::size_t>(view_.experts), 0);
    std::int64_t most = 0;  // choices of a token
    for (const std::int64_t t : order_) {
      const auto token = static_cast<std::size_t>(t);
      most = std::max(most, view_.choice_begin[token + 1] - view_.choice_begin[token]);
      for (std::int64_t c = view_.choice_begin[token]; c < view_.choice_begin[token + 1]; ++c)
        ++load[view_.choices[static_cast<std::size_t>(c)]];
    }
    const std::int64_t fullest = load.empty() ? 0 : *std::max_element(load.begin(), load.end());
    const Limit limit =
        limit_of(rule, fullest, static_cast<std::int64_t>(order_.size()), top_k, view_.experts);
    result_.capacity.push_back(limit.capacity);
    result_.factor.push_back(limit.factor);
    if (fullest <= limit.capacity) return;
    claim_order(view_, rule.priority, order_);
    std::fill(load.begin(), load.end(), 0);
    for (std::int64_t rank = 0; rank < most; ++rank) {
      for (const std::int64_t t : order_) {
        const auto token = static_cast<std::size_t>(t);
        const std::int64_t c = view_.choice_begin[token] + rank;
        if (c >= view_.choice_begin[token + 1]) continue;
        const auto choice = static_cast<std::size_t>(c);
        if (++load[view_.choices[choice]] > limit.capacity) result_.dropped[choice] = 1;
      }
    }
  }

 private:
  const ChoiceView& view_;
  CapacityResult& result_;
  std::vector<std::int64_t> order_;
};

void count_kept(const ChoiceView& view, CapacityResult& result) {
  result.kept.assign(static_cast<std::size_t>(view.ranks) * static_cast<std::size_t>(view.experts),
                     0);
  for (int rank = 0; rank < view.ranks; ++rank) {
    std::int64_t* kept = result.kept.data() + static_cast<std::ptrdiff_t>(rank) * view.experts;
    const auto r = static_cast<std::size_t>(rank);
    for (std::int64_t t = view.rank_begin[r]; t < view.rank_begin[r + 1]; ++t) {
      const auto token = static_cast<std::size_t>(t);
      std::int64_t lost = 0;
      for (std::int64_t c = view.choice_begin[token]; c < view.choice_begin[token + 1]; ++c) {
        const auto choice = static_cast<std::size_t>(c);
        if (result.dropped[choice] != 0) {
          ++lost;
        } else {
          ++kept[view.choices[choice]];
        }
      }
      result.dropped_choices += lost;
      if (lost > 0 && lost == view.choice_begin[token + 1] - view.choice_begin[token])
        ++result.tokens_without_expert;
    }
  }
}

}  // namespace

std::span<const CapacityWord> capacity_kinds() { return kKinds; }
std::span<const CapacityWord> overflow_priorities() { return kPriorities; }
std::span<const CapacityWord> capacity_scopes() { return kScopes; }

void check_capacity(const CapacityRule& rule) {
  const auto check = [](double value, const char* what) {
    if (!(value > 0 && value <= 1e6)) {
      throw Error(fmt::format("a capacity {} of {}", what, value),
                  "it is above 0 and at most 1e6; 'dropless' has no capacity");
    }
  };
  if (rule.kind == CapacityKind::kFixed) check(rule.factor, "factor");
  if (rule.kind == CapacityKind::kAdaptive && rule.cap) check(*rule.cap, "cap");
}

std::int64_t expert_capacity(double factor, std::int64_t tokens, int top_k, int experts) {
  SIM_CHECK(factor > 0 && experts > 0, "a capacity needs a factor and experts");
  const double rows = factor * (static_cast<double>(tokens) * top_k) / experts;
  const double nearest = std::round(rows);
  return static_cast<std::int64_t>(std::abs(rows - nearest) <= 1e-9 * nearest ? nearest
                                                                              : std::ceil(rows));
}

ChoiceView view_of(const LayerRouting& routing, std::span<const float> weights) {
  SIM_CHECK(routing.per_token, "counts have no tokens");
  return {routing.ranks,        routing.experts, routing.rank_begin,
          routing.choice_begin, routing.choices, weights};
}

CapacityResult apply_capacity(const ChoiceView& view, int top_k, const CapacityRule& rule) {
  check_capacity(rule);
  CapacityResult result;
  result.choices = static_cast<std::int64_t>(view.choices.size());
  result.dropped.assign(view.choices.size(), 0);
  if (rule.kind != CapacityKind::kDropless) {
    if (rule.priority == OverflowPriority::kScore && view.weights.size() != view.choices.size()) {
      throw Error("overflow by score needs gate weights, and this routing has none",
                  "use priority: order, or a trace with gate weights");
    }
    if (rule.scope == CapacityScope::kTogether) {
      Group(view, 0, view.rank_begin.back(), result).apply(top_k, rule);
    } else {
      for (std::size_t r = 0; r < static_cast<std::size_t>(view.ranks); ++r)
        Group(view, view.rank_begin[r], view.rank_begin[r + 1], result).apply(top_k, rule);
    }
  }
  count_kept(view, result);
  return result;
}

LayerRouting without_dropped(const LayerRouting& routing, const CapacityResult& result) {
  SIM_CHECK(routing.per_token && result.dropped.size() == routing.choices.size(),
            "the result of this routing");
  LayerRouting left;
  left.ranks = routing.ranks;
  left.experts = routing.experts;
  left.rank_begin = routing.rank_begin;
  left.counts = result.kept;
  left.choice_begin.assign(1, 0);
  left.choice_begin.reserve(routing.choice_begin.size());
  left.choices.reserve(routing.choices.size());
  for (std::size_t t = 0; t + 1 < routing.choice_begin.size(); ++t) {
    for (std::int64_t c = routing.choice_begin[t]; c < routing.choice_begin[t + 1]; ++c) {
      if (result.dropped[static_cast<std::size_t>(c)] == 0)
        left.choices.push_back(routing.choices[static_cast<std::size_t>(c)]);
    }
    left.choice_begin.push_back(static_cast<std::int64_t>(left.choices.size()));
  }
  return left;
}

CountCapacity apply_capacity_to_counts(std::span<const std::int64_t> counts, int experts,
                                       std::span<const std::int64_t> tokens_per_rank, int top_k,
                                       const CapacityRule& rule) {
  check_capacity(rule);
  const auto width = static_cast<std::size_t>(experts);
  SIM_CHECK(counts.size() == width * tokens_per_rank.size(), "a count per rank and expert");
  const bool together = rule.scope == CapacityScope::kTogether;
  CountCapacity result;
  result.choices = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
  result.kept_by_expert.assign(width, 0);
  const auto keep = [&](std::span<const std::int64_t> load, std::int64_t tokens) {
    Limit limit;
    if (rule.kind != CapacityKind::kDropless) {
      limit = limit_of(rule, *std::max_element(load.begin(), load.end()), tokens, top_k, experts);
      result.capacity.push_back(limit.capacity);
      result.factor.push_back(limit.factor);
    }
    for (std::size_t e = 0; e < width; ++e) {
      const std::int64_t kept = std::min(load[e], limit.capacity);
      result.kept_by_expert[e] += kept;
      result.dropped_choices += load[e] - kept;
      if (!together || tokens_per_rank.size() == 1) result.kept.push_back(kept);
    }
  };
  if (together) {
    std::vector<std::int64_t> load(width, 0);
    for (std::size_t i = 0; i < counts.size(); ++i) load[i % width] += counts[i];
    keep(load, std::accumulate(tokens_per_rank.begin(), tokens_per_rank.end(), std::int64_t{0}));
    if (result.dropped_choices == 0) result.kept.assign(counts.begin(), counts.end());
  } else {
    for (std::size_t r = 0; r < tokens_per_rank.size(); ++r)
      keep(counts.subspan(r * width, width), tokens_per_rank[r]);
  }
  return result;
}

}  // namespace sim
