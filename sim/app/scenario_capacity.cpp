#include "sim/app/scenario_capacity.h"

#include <string>
#include <vector>

namespace sim {
namespace {

std::vector<std::string> names_of(std::span<const CapacityWord> words) {
  std::vector<std::string> names;
  for (const CapacityWord& word : words) names.emplace_back(word.name);
  return names;
}

}  // namespace

std::optional<CapacityRule> read_capacity(YamlMap& routing, bool weights) {
  std::optional<YamlMap> map = routing.map_if("capacity");
  if (!map) return std::nullopt;
  constexpr double kLeastFactor = 1e-6;
  constexpr double kMostFactor = 1e6;
  CapacityRule rule;
  const NumberRange factors{kLeastFactor, kMostFactor};
  const YamlNode factor = map->child("factor");
  const std::string adaptive(capacity_kinds()[1].name);
  if (factor.defined() && factor.is_scalar() && factor.text() == adaptive) {
    map->text("factor");
    rule.kind = CapacityKind::kAdaptive;
    if (map->has("most")) {
      rule.cap = map->number("most", factors);
    } else if (map->has("priority")) {
      map->mistake("priority", "an adaptive factor without a greatest one drops nothing",
                   "add 'most'");
    }
  } else {
    if (map->has("most")) {
      map->mistake("most", "'most' is the greatest of the adaptive factors",
                   "write factor: adaptive, or leave it out");
      map->number("most", factors);
    }
    rule.kind = CapacityKind::kFixed;
    if (factor.defined() && factor.is_scalar() && factor.text() == capacity_kinds()[2].name) {
      map->text("factor");
      map->mistake("factor", "dropless is what a run without a capacity is",
                   "leave out 'capacity'");
    } else {
      rule.factor = map->number("factor", factors);
    }
  }
  const std::vector<std::string> priorities = names_of(overflow_priorities());
  if (map->choice_or("priority", priorities[0], priorities) == priorities[1]) {
    rule.priority = OverflowPriority::kScore;
    if (!weights) {
      map->mistake("priority", "overflow by score needs gate weights, which only a trace has",
                   "use priority: order");
    }
  }
  const std::vector<std::string> scopes = names_of(capacity_scopes());
  rule.scope = map->choice_or("per", scopes[1], scopes) == scopes[0]
                   ? CapacityScope::kTogether
                   : CapacityScope::kPerSourceRank;
  map->finish();
  return rule;
}

}  // namespace sim
