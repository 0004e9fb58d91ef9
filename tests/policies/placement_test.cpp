#include "sim/policies/placement/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "sim/core/error.h"

namespace sim {
namespace {

using ::testing::ElementsAre;

std::vector<int> numbers(const ExpertPlacement& placement) {
  std::vector<int> result;
  for (const ExpertId expert : placement.slots) result.push_back(expert.value());
  return result;
}

std::vector<int> place(std::string_view policy, const PlacementInput& input) {
  RandomStream random(7, "placement");
  return numbers(place_experts(find_placement_policy(policy), input, random));
}

PlacementInput layer(int ranks, int redundant, std::vector<double> load) {
  PlacementInput input;
  input.experts = static_cast<int>(load.size());
  input.redundant_experts = redundant;
  input.ranks = ranks;
  input.load = std::move(load);
  return input;
}

std::vector<double> zipf(int experts, double exponent, std::uint64_t seed) {
  std::vector<double> load;
  load.reserve(static_cast<std::size_t>(experts));
  for (int e = 0; e < experts; ++e) load.push_back(1000 * std::pow(e + 1, -exponent));
  RandomStream random(seed, "zipf");
  random.shuffle(load);
  return load;
}

double max_over_mean(const ExpertPlacement& placement, const std::vector<double>& load) {
  std::vector<double> rank_load(static_cast<std::size_t>(placement.ranks), 0.0);
  double sum = 0;
  for (int e = 0; e < placement.experts; ++e) {
    const auto copies = placement.copies(e);
    for (const std::int32_t slot : copies) {
      rank_load[static_cast<std::size_t>(placement.rank_of(slot))] +=
          load[static_cast<std::size_t>(e)] / static_cast<double>(copies.size());
    }
    sum += load[static_cast<std::size_t>(e)];
  }
  return *std::max_element(rank_load.begin(), rank_load.end()) * placement.ranks / sum;
}

// The published README example, deepseek-ai/EPLB at d52c72d: 2 layers, 12 experts, 16 copies, 4
// groups, 2 nodes, 8 GPUs; expert index per physical slot.
TEST(Eplb, ReproducesThePublishedExample) {
  PlacementInput input = layer(8, 4, {90, 132, 40, 61, 104, 165, 39, 4, 73, 56, 183, 86});
  input.groups = 4;
  input.nodes = 2;
  EXPECT_THAT(place("eplb", input), ElementsAre(5, 6, 5, 7, 8, 4, 3, 4, 10, 9, 10, 2, 0, 1, 11, 1));
  input.load = {20, 107, 104, 64, 19, 197, 187, 157, 172, 86, 16, 27};
  EXPECT_THAT(place("eplb", input), ElementsAre(7, 10, 6, 8, 6, 11, 8, 9, 2, 4, 5, 1, 5, 0, 3, 1));
}

TEST(Eplb, IsGlobalWhenGroupsDoNotDivideOverNodes) {
  PlacementInput input = layer(4, 2, {9, 1, 5, 3, 2, 4});
  input.groups = 3;
  input.nodes = 2;
  EXPECT_EQ(place("eplb", input), place("eplb-global", input));
}

// Loads 8 2 2 on 2 ranks with 1 copy more: expert 0 twice (4, 4), then 2 and 2.
// Heaviest first: 4 -> rank 0, 4 -> rank 1, 2 -> rank 0, 2 -> rank 1.
TEST(Eplb, GlobalByHand) {
  EXPECT_THAT(place("eplb-global", layer(2, 1, {8, 2, 2})), ElementsAre(0, 1, 0, 2));
}

// Loads 11 12 1, one copy more: expert 1 twice (6, 6). Heaviest first: 11 -> rank 0, 6 -> rank 1,
// and the other 6 to the lighter rank, which is rank 1 again: as published, and counted.
TEST(Eplb, MayPutTwoCopiesOnOneRankAndSaysSo) {
  RandomStream random(7, "placement");
  const ExpertPlacement placement =
      place_experts(find_placement_policy("eplb-global"), layer(2, 1, {11, 12, 1}), random);
  EXPECT_THAT(numbers(placement), ElementsAre(0, 2, 1, 1));
  EXPECT_EQ(placement.wasted_copies(), 1);
}

TEST(Placement, ContiguousByHand) {
  EXPECT_THAT(place("contiguous", layer(2, 0, {1, 1, 1, 1})), ElementsAre(0, 1, 2, 3));
  // 5 experts on 3 ranks: blocks of 2, 2, 1; the sixth slot is empty.
  EXPECT_THAT(place("contiguous", layer(3, 0, {1, 1, 1, 1, 1})), ElementsAre(0, 1, 2, 3, 4, -1));
}

TEST(Placement, ContiguousPutsCopiesOfTheMostLoadedInSlotsLeft) {
  // 4 experts, 2 redundant, 2 ranks: 3 slots each. Rank loads 11 and 4. Expert 0 (10) is copied to
  // the only rank without it, rank 1 (now 6 and 9); then expert 3 (3) to rank 0.
  EXPECT_THAT(place("contiguous", layer(2, 2, {10, 1, 1, 3})), ElementsAre(0, 1, 3, 2, 3, 0));
}

TEST(Placement, RoundRobinByHand) {
  EXPECT_THAT(place("round-robin", layer(2, 0, {1, 1, 1, 1, 1})), ElementsAre(0, 2, 4, 1, 3, -1));
}

// 9 -> rank 0 (9), 5 -> rank 1 (5), 4 -> rank 1 (9), then 3: both have 9 and rank 1 is full.
TEST(Placement, BalancedByHand) {
  EXPECT_THAT(place("balanced", layer(2, 0, {3, 5, 9, 4})), ElementsAre(2, 0, 1, 3));
}

TEST(Placement, RandomIsAPermutationThatFollowsTheSeed) {
  const PlacementInput input = layer(4, 0, std::vector<double>(32, 1.0));
  RandomStream one(1, "placement");
  RandomStream again(1, "placement");
  RandomStream other(2, "placement");
  const auto& policy = find_placement_policy("random");
  const auto first = numbers(place_experts(policy, input, one));
  EXPECT_EQ(first, numbers(place_experts(policy, input, again)));
  EXPECT_NE(first, numbers(place_experts(policy, input, other)));
  EXPECT_EQ(std::set<int>(first.begin(), first.end()).size(), 32U);
}

struct Shape {
  int experts, redundant, ranks, nodes, groups;
};

class EveryPolicy : public ::testing::TestWithParam<std::size_t> {
 protected:
  const PlacementPolicy& policy() const { return kPlacementPolicies[GetParam()]; }
};

// Every expert has a slot, copies add up, and no rank holds two copies of one expert (EPLB, which
// is kept as published, may).
TEST_P(EveryPolicy, PlacesEveryExpertOnEveryShape) {
  const std::vector<Shape> shapes{{1, 0, 1, 1, 1},     {8, 0, 3, 1, 1},     {8, 5, 8, 2, 4},
                                  {5, 0, 8, 1, 1},     {64, 9, 7, 1, 1},    {256, 32, 72, 9, 8},
                                  {256, 32, 32, 4, 8}, {128, 16, 16, 2, 4}, {60, 4, 16, 2, 3}};
  for (const Shape& s : shapes) {
    for (const double exponent : {0.0, 0.5, 1.0}) {
      PlacementInput input = layer(s.ranks, s.redundant, zipf(s.experts, exponent, 3));
      input.nodes = s.nodes;
      input.groups = s.groups;
      RandomStream random(5, "placement");
      const ExpertPlacement placement = place_experts(policy(), input, random);
      int copies = 0;
      for (int e = 0; e < s.experts; ++e) {
        EXPECT_GE(placement.copies(e).size(), 1U);
        copies += static_cast<int>(placement.copies(e).size());
        EXPECT_TRUE(std::is_sorted(placement.copies(e).begin(), placement.copies(e).end()));
      }
      EXPECT_EQ(copies, s.experts + s.redundant);
      EXPECT_EQ(placement.empty_slots(), placement.slot_count() - s.experts - s.redundant);
      if (!policy().name.starts_with("eplb")) {
        EXPECT_EQ(placement.wasted_copies(), 0) << s.experts << " on " << s.ranks;
      }
    }
  }
}

// A layer whose load is not known is placed as a uniform one.
TEST_P(EveryPolicy, ZeroLoadIsUniformLoad) {
  PlacementInput input = layer(8, 8, std::vector<double>(32, 1.0));
  const std::vector<int> uniform = place(policy().name, input);
  input.load.assign(32, 0.0);
  EXPECT_EQ(place(policy().name, input), uniform);
}

INSTANTIATE_TEST_SUITE_P(Table, EveryPolicy,
                         ::testing::Range(std::size_t{0}, kPlacementPolicies.size()),
                         [](const auto& param) {
                           std::string name(kPlacementPolicies[param.param].name);
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// Which of the equally loaded experts comes first changes names, never the load of the ranks.
TEST(Placement, OrderOfTiesIsHarmless) {
  std::vector<double> load;
  for (int e = 0; e < 48; ++e) load.push_back(e < 4 ? 40 : e < 16 ? 9 : 2);
  RandomStream random(3, "ties");
  const auto balance = [&](std::string_view policy, int redundant) {
    return max_over_mean(
        place_experts(find_placement_policy(policy), layer(8, redundant, load), random), load);
  };
  const double balanced = balance("balanced", 0);
  const double global = balance("eplb-global", 8);
  for (int round = 0; round < 20; ++round) {
    random.shuffle(load);
    EXPECT_DOUBLE_EQ(balance("balanced", 0), balanced);
    EXPECT_DOUBLE_EQ(balance("eplb-global", 8), global);
    EXPECT_DOUBLE_EQ(balance("eplb", 8), global);  // one group on one node
  }
}

TEST(Placement, ReplicasAreRankAndSlot) {
  const ExpertPlacement placement =
      make_placement(2, 2, {ExpertId(1), ExpertId(0), ExpertId(), ExpertId(1)});
  EXPECT_THAT(placement.replicas(ExpertId(1)), ElementsAre(Replica{0, 0}, Replica{1, 1}));
  EXPECT_THAT(placement.replicas(ExpertId(0)), ElementsAre(Replica{0, 1}));
  EXPECT_EQ(placement.empty_slots(), 1);
}

// 256 experts on 32 ranks of 4 nodes in 8 groups. The plain baseline has no copies; with the same
// copies contiguous may beat grouped EPLB, which keeps copies in the node, but not the global one.
TEST(Placement, EplbBeatsContiguousOnZipfLoads) {
  for (const double exponent : {0.4, 0.8, 1.2}) {
    for (std::uint64_t seed = 1; seed <= 5; ++seed) {
      const auto balance = [&](std::string_view name, int redundant) {
        PlacementInput input = layer(32, redundant, zipf(256, exponent, seed));
        input.nodes = 4;
        input.groups = 8;
        RandomStream random(seed, "placement");
        return max_over_mean(place_experts(find_placement_policy(name), input, random), input.load);
      };
      EXPECT_LT(balance("eplb", 32), balance("contiguous", 0)) << exponent << " seed " << seed;
      EXPECT_LE(balance("eplb", 0), balance("contiguous", 0)) << exponent << " seed " << seed;
      EXPECT_LE(balance("balanced", 0), balance("contiguous", 0)) << exponent << " seed " << seed;
      EXPECT_LT(balance("eplb-global", 32), balance("contiguous", 32)) << exponent << " " << seed;
      EXPECT_LT(balance("balanced", 32), balance("contiguous", 0)) << exponent << " " << seed;
    }
  }
}

std::string message_of(const PlacementInput& input) {
  try {
    check_placement_input(input);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Placement, RefusesWhatCannotBePlaced) {
  PlacementInput input = layer(2, 0, {1, 1});
  EXPECT_EQ(message_of(input), "accepted");
  input.redundant_experts = 3;
  EXPECT_EQ(message_of(input),
            "3 redundant experts do not fit 2 experts on 2 ranks; 0 to 2: at most one copy of an "
            "expert per rank");
  input.redundant_experts = 0;
  input.ranks = 1 << 25;
  EXPECT_EQ(message_of(input),
            "33554432 expert slots are too many; at most 16777216; use fewer redundant experts or "
            "ranks");
  input.ranks = 0;
  EXPECT_EQ(message_of(input),
            "cannot place experts on 0 ranks of 1 nodes in 1 groups; each of them is at least 1");
  input.experts = 70000;
  EXPECT_EQ(message_of(input), "cannot place 70000 experts; a layer has 1 to 65536 experts");
}

TEST(Placement, AnUnknownNameGetsTheNearestOne) {
  try {
    find_placement_policy("elpb");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "unknown placement policy 'elpb'; did you mean 'eplb'?");
  }
}

}  // namespace
}  // namespace sim
