// Which rank holds a copy of which expert of one layer, and the policies that decide it.
//
// Every rank of the expert-parallel group has the same number of slots; slot s of rank r is
// slots[r * slots_per_rank + s]. A policy is a pure function of the input and a random stream.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "sim/core/id.h"
#include "sim/core/random.h"

namespace sim {

struct PlacementInput {
  int experts = 0;            // logical experts of the layer, 1..65536
  int redundant_experts = 0;  // copies beyond the first, 0..experts * (ranks - 1)
  int ranks = 0;              // of the expert-parallel group
  int nodes = 1;              // that these ranks fill, node by node
  int groups = 1;             // expert groups of group-limited gating; 1: none
  std::vector<double> load;   // expected rows per expert; all zero means uniform

  int physical_experts() const { return experts + redundant_experts; }
  int slots_per_rank() const { return (physical_experts() + ranks - 1) / ranks; }
};

struct Replica {
  int rank = 0;
  int slot = 0;  // within the rank
  bool operator==(const Replica&) const = default;
};

// REQUIRES (made true by make_placement): every expert has at least one copy.
struct ExpertPlacement {
  int experts = 0;
  int ranks = 0;
  int slots_per_rank = 0;
  std::vector<ExpertId> slots;  // ranks * slots_per_rank; invalid: an empty slot

  // The same by expert: copies of expert e are the slot indices copy_slots[copy_begin[e] ..
  // copy_begin[e + 1]), ascending. Copy number k of an expert is the k-th of them.
  std::vector<std::int32_t> copy_begin;
  std::vector<std::int32_t> copy_slots;

  int slot_count() const { return static_cast<int>(slots.size()); }
  int rank_of(std::int32_t slot) const { return slot / slots_per_rank; }
  std::span<const std::int32_t> copies(int expert) const {
    const auto e = static_cast<std::size_t>(expert);
    return {copy_slots.data() + copy_begin[e],
            static_cast<std::size_t>(copy_begin[e + 1] - copy_begin[e])};
  }
  std::vector<Replica> replicas(ExpertId expert) const;
  int empty_slots() const;
  // Copies that share their rank with an earlier copy of the same expert: they hold memory and
  // balance nothing. EPLB makes such copies when one expert outweighs the rest.
  int wasted_copies() const;
};

// Checks the slots and builds the index by expert.
// REQUIRES: slots.size() is a multiple of ranks and every expert appears in it.
ExpertPlacement make_placement(int experts, int ranks, std::vector<ExpertId> slots);

// The policies. Each returns ranks * slots_per_rank slots.
using PlacementFunction = std::vector<ExpertId>(const PlacementInput&, RandomStream&);
PlacementFunction place_contiguous, place_round_robin, place_random, place_balanced, place_eplb,
    place_eplb_global;

struct PlacementPolicy {
  std::string_view name;
  std::string_view help;
  PlacementFunction* place;
};

// All but EPLB first place one copy of every expert; the redundant copies then go one by one to the
// expert with the greatest load per copy, on the least loaded rank with a slot left and no copy
// yet.
inline constexpr std::array kPlacementPolicies{
    PlacementPolicy{
        "contiguous",
        "experts in order, block by block; redundant: most loaded experts in slots left",
        &place_contiguous},
    PlacementPolicy{"round-robin",
                    "expert e on rank e mod ranks; redundant: most loaded experts in slots left",
                    &place_round_robin},
    PlacementPolicy{
        "random", "a seeded shuffle in equal blocks; redundant: most loaded experts in slots left",
        &place_random},
    PlacementPolicy{
        "balanced",
        "largest load first to the least loaded rank; redundant: most loaded in slots left",
        &place_balanced},
    PlacementPolicy{
        "eplb",
        "DeepSeek EPLB: groups to nodes, copies within nodes, then to ranks (global when "
        "groups do not divide over nodes)",
        &place_eplb},
    PlacementPolicy{"eplb-global", "DeepSeek EPLB without groups and nodes: copies anywhere",
                    &place_eplb_global},
};

// Throws Error with the nearest name when there is none.
const PlacementPolicy& find_placement_policy(std::string_view name);

// Throws Error when the input cannot be placed (counts out of range, more copies than ranks).
void check_placement_input(const PlacementInput& input);
ExpertPlacement place_experts(const PlacementPolicy& policy, const PlacementInput& input,
                              RandomStream& random);

// Puts input.redundant_experts more copies into the empty slots, as described above the table.
void add_redundant_copies(const PlacementInput& input, std::vector<ExpertId>& slots);

// The load a policy works with: input.load, or all ones when the sum is zero.
std::vector<double> effective_load(const PlacementInput& input);

}  // namespace sim
