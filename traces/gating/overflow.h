// Expert capacity: which of a gate's choices are dropped because an expert is full.
//
// A trace stores the choices before any capacity; drops happen at replay, here.
//
// Capacity of an expert over the T tokens of a group, top-k, E experts and factor f:
//   capacity = ceil(f * k * T / E)
// Switch (arXiv 2101.03961, eq. 3) prints f * T / E for k = 1; GShard (arXiv 2006.16668, algorithm
// 1) has k = 2, f = 1 and a group per source; Tutel (arXiv 2206.03382) f * k * T / E.
// The papers do not say how they round. Tutel's code takes k * floor(f * ceil(T / E)); we round up
// once, so that f = 1 never drops from balanced choices.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "traces/routing.h"

namespace sim {

enum class CapacityKind {
  kFixed,     // the factor given
  kAdaptive,  // fullest expert over the mean: drops nothing; at most `cap` (Tutel)
  kDropless,  // no capacity
};

enum class OverflowPriority {
  // First choices of all tokens in token order, then second choices, ... (GShard, Switch, Tutel).
  kOrder,
  // The same, with the tokens sorted by their greatest gate weight first (batch prioritized
  // routing, V-MoE, arXiv 2106.05974, section 4.1; Tutel's option). Ties: the earlier token.
  kScore,
};

enum class CapacityScope {
  kTogether,       // one capacity for the tokens of all source ranks
  kPerSourceRank,  // each source rank is a group with its own capacity (GShard's groups, Tutel)
};

struct CapacityRule {
  CapacityKind kind = CapacityKind::kDropless;
  double factor = 1;          // kFixed; > 0
  std::optional<double> cap;  // kAdaptive: the factor does not pass it; > 0
  OverflowPriority priority = OverflowPriority::kOrder;
  CapacityScope scope = CapacityScope::kPerSourceRank;
};

struct CapacityWord {
  std::string_view name;
  std::string_view help;
};
// The words of a scenario or command line, in the order of the enums.
std::span<const CapacityWord> capacity_kinds();       // fixed, adaptive, dropless
std::span<const CapacityWord> overflow_priorities();  // order, score
std::span<const CapacityWord> capacity_scopes();      // together, source-rank

// Throws Error when a factor or cap is not above 0.
void check_capacity(const CapacityRule& rule);

// ceil(factor * top_k * tokens / experts); a product within 1e-9 relative of an integer is that
// integer. Rows of one expert. REQUIRES: factor > 0, experts > 0.
std::int64_t expert_capacity(double factor, std::int64_t tokens, int top_k, int experts);

// The choices of one layer as LayerRouting holds them.
struct ChoiceView {
  int ranks = 0;
  int experts = 0;
  std::span<const std::int64_t> rank_begin;    // ranks + 1
  std::span<const std::int64_t> choice_begin;  // tokens + 1
  std::span<const std::uint16_t> choices;      // of a token in its order of preference
  std::span<const float> weights;              // as long as choices; only kScore needs them
};
// REQUIRES: routing.per_token.
ChoiceView view_of(const LayerRouting& routing, std::span<const float> weights = {});

struct CapacityResult {
  std::vector<std::int64_t> capacity;  // one entry, or one per source rank; empty: dropless
  std::vector<double> factor;          // likewise: the factor applied
  std::vector<std::uint8_t> dropped;   // one per choice: 1 is dropped
  std::vector<std::int64_t> kept;      // ranks * experts
  std::int64_t choices = 0;
  std::int64_t dropped_choices = 0;
  std::int64_t tokens_without_expert = 0;  // tokens that had a choice and lost every one
};

// The adaptive factor is the fullest expert over the mean, fullest * E / (k T), as Tutel's: its
// capacity is the fullest expert's. Throws Error when kScore has no weights.
CapacityResult apply_capacity(const ChoiceView& view, int top_k, const CapacityRule& rule);

// What remains: the same tokens with the choices that were not dropped. A token may keep none.
LayerRouting without_dropped(const LayerRouting& routing, const CapacityResult& result);

// Capacity on counts[rank * experts + e] alone. How many choices an expert keeps, min(count,
// capacity), depends on no priority, so the totals are exact for both. Which rank's choices are
// kept does: with kPerSourceRank `kept` is exact; with kTogether and more than one rank it cannot
// be known unless nothing is dropped, and `kept` is then empty and only `kept_by_expert` filled.
struct CountCapacity {
  std::vector<std::int64_t> capacity;
  std::vector<double> factor;
  std::vector<std::int64_t> kept;            // ranks * experts, or empty
  std::vector<std::int64_t> kept_by_expert;  // experts
  std::int64_t choices = 0;
  std::int64_t dropped_choices = 0;
};
CountCapacity apply_capacity_to_counts(std::span<const std::int64_t> counts, int experts,
                                       std::span<const std::int64_t> tokens_per_rank, int top_k,
                                       const CapacityRule& rule);

}  // namespace sim
