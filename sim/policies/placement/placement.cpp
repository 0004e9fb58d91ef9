#include "sim/policies/placement/placement.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "sim/core/error.h"
#include "sim/input/suggestion.h"

namespace sim {
namespace {

// Above any cluster we know of (10k GPUs with 100 slots each), below what could exhaust memory.
constexpr std::int64_t kMostSlots = std::int64_t{1} << 24;
constexpr int kMostExperts = 65536;  // choices are stored in 16 bits

}  // namespace

std::vector<Replica> ExpertPlacement::replicas(ExpertId expert) const {
  std::vector<Replica> result;
  for (const std::int32_t slot : copies(expert.value())) {
    result.push_back({rank_of(slot), slot % slots_per_rank});
  }
  return result;
}

int ExpertPlacement::empty_slots() const {
  return static_cast<int>(
      std::count_if(slots.begin(), slots.end(), [](ExpertId e) { return !e.valid(); }));
}

int ExpertPlacement::wasted_copies() const {
  int wasted = 0;
  for (int expert = 0; expert < experts; ++expert) {
    const auto own = copies(expert);
    for (std::size_t k = 1; k < own.size(); ++k) {
      if (rank_of(own[k]) == rank_of(own[k - 1])) ++wasted;  // ascending: same rank is adjacent
    }
  }
  return wasted;
}

ExpertPlacement make_placement(int experts, int ranks, std::vector<ExpertId> slots) {
  SIM_CHECK(experts > 0 && ranks > 0 && slots.size() % static_cast<std::size_t>(ranks) == 0,
            "slots come in equal numbers per rank");
  ExpertPlacement placement;
  placement.experts = experts;
  placement.ranks = ranks;
  placement.slots_per_rank = static_cast<int>(slots.size()) / ranks;
  placement.slots = std::move(slots);

  std::vector<std::int32_t>& begin = placement.copy_begin;
  begin.assign(static_cast<std::size_t>(experts) + 1, 0);
  for (const ExpertId expert : placement.slots) {
    if (!expert.valid()) continue;
    SIM_CHECK(expert.value() < experts, "a slot holds an expert of this layer");
    ++begin[expert.index() + 1];
  }
  for (std::size_t e = 1; e < begin.size(); ++e) {
    SIM_CHECK(begin[e] > 0, fmt::format("expert {} has no slot", e - 1));
    begin[e] += begin[e - 1];
  }
  placement.copy_slots.resize(static_cast<std::size_t>(begin.back()));
  std::vector<std::int32_t> next(begin.begin(), begin.end() - 1);
  for (std::size_t slot = 0; slot < placement.slots.size(); ++slot) {
    const ExpertId expert = placement.slots[slot];
    if (!expert.valid()) continue;
    placement.copy_slots[static_cast<std::size_t>(next[expert.index()]++)] =
        static_cast<std::int32_t>(slot);
  }
  return placement;
}

const PlacementPolicy& find_placement_policy(std::string_view name) {
  std::vector<std::string> names;
  for (const PlacementPolicy& policy : kPlacementPolicies) {
    if (policy.name == name) return policy;
    names.emplace_back(policy.name);
  }
  throw Error(fmt::format("unknown placement policy '{}'", name), suggest(name, names));
}

void check_placement_input(const PlacementInput& input) {
  if (input.experts < 1 || input.experts > kMostExperts) {
    throw Error(fmt::format("cannot place {} experts", input.experts),
                fmt::format("a layer has 1 to {} experts", kMostExperts));
  }
  if (input.ranks < 1 || input.nodes < 1 || input.groups < 1) {
    throw Error(fmt::format("cannot place experts on {} ranks of {} nodes in {} groups",
                            input.ranks, input.nodes, input.groups),
                "each of them is at least 1");
  }
  const std::int64_t most = std::int64_t{input.experts} * (input.ranks - 1);
  if (input.redundant_experts < 0 || input.redundant_experts > most) {
    throw Error(fmt::format("{} redundant experts do not fit {} experts on {} ranks",
                            input.redundant_experts, input.experts, input.ranks),
                fmt::format("0 to {}: at most one copy of an expert per rank", most));
  }
  const std::int64_t physical = std::int64_t{input.experts} + input.redundant_experts;
  const std::int64_t slots = (physical + input.ranks - 1) / input.ranks * input.ranks;
  if (slots > kMostSlots) {
    throw Error(fmt::format("{} expert slots are too many", slots),
                fmt::format("at most {}; use fewer redundant experts or ranks", kMostSlots));
  }
  SIM_CHECK(input.load.size() == static_cast<std::size_t>(input.experts), "one load per expert");
  for (const double load : input.load) {
    SIM_CHECK(std::isfinite(load) && load >= 0, "loads are finite and not negative");
  }
}

ExpertPlacement place_experts(const PlacementPolicy& policy, const PlacementInput& input,
                              RandomStream& random) {
  check_placement_input(input);
  std::vector<ExpertId> slots = policy.place(input, random);
  SIM_CHECK(
      static_cast<std::int64_t>(slots.size()) == std::int64_t{input.ranks} * input.slots_per_rank(),
      "a policy fills the slots of every rank");
  return make_placement(input.experts, input.ranks, std::move(slots));
}

std::vector<double> effective_load(const PlacementInput& input) {
  const double sum = std::accumulate(input.load.begin(), input.load.end(), 0.0);
  if (sum > 0) return input.load;
  return std::vector<double>(input.load.size(), 1.0);
}

}  // namespace sim
