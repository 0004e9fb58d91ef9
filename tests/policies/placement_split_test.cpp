#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>
#include <string>
#include <vector>

#include "sim/core/error.h"
#include "sim/policies/placement/replica_split.h"

namespace sim {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Tokens per rank, each with its choices.
LayerRouting routing_of(int experts,
                        const std::vector<std::vector<std::vector<int>>>& tokens_of_rank) {
  LayerRouting routing;
  routing.ranks = static_cast<int>(tokens_of_rank.size());
  routing.experts = experts;
  routing.rank_begin.push_back(0);
  routing.choice_begin.push_back(0);
  routing.counts.assign(tokens_of_rank.size() * static_cast<std::size_t>(experts), 0);
  for (std::size_t rank = 0; rank < tokens_of_rank.size(); ++rank) {
    for (const auto& token : tokens_of_rank[rank]) {
      for (const int expert : token) {
        routing.choices.push_back(static_cast<std::uint16_t>(expert));
        ++routing
              .counts[rank * static_cast<std::size_t>(experts) + static_cast<std::size_t>(expert)];
      }
      routing.choice_begin.push_back(static_cast<std::int64_t>(routing.choices.size()));
    }
    routing.rank_begin.push_back(static_cast<std::int64_t>(routing.choice_begin.size()) - 1);
  }
  return routing;
}

LayerRouting counts_only(LayerRouting routing) {
  routing.per_token = false;
  routing.rank_begin.clear();
  routing.choice_begin.clear();
  routing.choices.clear();
  return routing;
}

ExpertPlacement placed(int experts, int ranks, const std::vector<int>& slots) {
  std::vector<ExpertId> ids;
  ids.reserve(slots.size());
  for (const int slot : slots) ids.push_back(slot < 0 ? ExpertId() : ExpertId(slot));
  return make_placement(experts, ranks, ids);
}

SlotAssignment assign(std::string_view split, const LayerRouting& routing,
                      const ExpertPlacement& placement, int ranks_per_node = 1) {
  SlotAssignment out;
  assign_slots(find_replica_split(split), {routing, placement, ranks_per_node}, out);
  return out;
}

// Expert 0 in slots 0, 2, 4; expert 1 in slot 1; expert 2 in slot 3; slot 5 empty. 3 ranks.
const ExpertPlacement kThreeCopies = placed(3, 3, {0, 1, 0, 2, 0, -1});

TEST(ReplicaSplit, ModuloIsTokenIndexPlusSourceRank) {
  const LayerRouting routing = routing_of(3, {{{0, 1}, {0}, {2}, {0}}, {{0}, {1, 0}}, {}});
  const SlotAssignment out = assign("modulo", routing, kThreeCopies);
  // rank 0: tokens 0, 1, 3 -> copies 0, 1, 0; rank 1: tokens 0, 1 -> copies 1, 2.
  EXPECT_THAT(out.slot_of_choice, ElementsAre(0, 1, 2, 3, 0, 2, 1, 4));
  EXPECT_THAT(out.rows, ElementsAre(2, 1, 1, 1, 0, 0, 0, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(out.rows_per_slot(), ElementsAre(2, 2, 2, 1, 1, 0));
  EXPECT_THAT(out.rows_per_rank(2), ElementsAre(4, 3, 1));
}

TEST(ReplicaSplit, EvenTakesTurnsPerExpert) {
  const LayerRouting routing = routing_of(3, {{{0, 1}, {1}, {0}, {0}}, {{0}, {0}}, {}});
  // rank 0: choices of expert 0 take copies 0, 1, 2; rank 1 starts at copy 1.
  EXPECT_THAT(assign("even", routing, kThreeCopies).slot_of_choice,
              ElementsAre(0, 1, 1, 2, 4, 2, 4));
}

TEST(ReplicaSplit, NearestPrefersTheRankThenTheNode) {
  // 4 ranks, 2 per node. Expert 0: slots 0 (rank 0) and 3 (rank 3); expert 1: slots 1 and 2.
  const ExpertPlacement placement = placed(2, 4, {0, 1, 1, 0});
  const LayerRouting routing = routing_of(2, {{{0}, {0}}, {{0, 1}}, {{0, 1}}, {{1}}});
  EXPECT_THAT(assign("nearest", routing, placement, 2).slot_of_choice,
              ElementsAre(0, 0, 0, 1, 3, 2, 2));
  // One rank per node: rank 1 has no copy of expert 0 and falls back to modulo: copy (0 + 1) % 2.
  EXPECT_THAT(assign("nearest", routing, placement, 1).slot_of_choice,
              ElementsAre(0, 0, 3, 1, 0, 2, 2));
}

TEST(ReplicaSplit, LeastLoadedCountsTheRowsOfTheRank) {
  const LayerRouting routing = routing_of(3, {{{1, 0}, {0}, {0}}, {{0}}, {}});
  // Rank loads: choice 1 -> rank 0 (1,0,0); 0 -> rank 1; 0 -> rank 2; (1,1,1) -> rank 0; -> rank 1.
  EXPECT_THAT(assign("least-loaded", routing, kThreeCopies).slot_of_choice,
              ElementsAre(1, 2, 4, 0, 2));
}

TEST(ReplicaSplit, CountsSplitEvenlyWithTheRestFromTheSourceRank) {
  const LayerRouting routing = counts_only(routing_of(3, {{{0}, {0}, {0}, {0}}, {{0}, {1}}, {}}));
  for (const std::string_view split : {"even", "modulo"}) {
    const SlotAssignment out = assign(split, routing, kThreeCopies);
    EXPECT_THAT(out.slot_of_choice, IsEmpty());
    EXPECT_THAT(out.rows, ElementsAre(2, 0, 1, 0, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0));
  }
}

// With one expert the order of rows does not matter, so filling to a level must equal row by row.
TEST(ReplicaSplit, LeastLoadedOnCountsEqualsRowByRow) {
  const ExpertPlacement placement = placed(4, 3, {0, 1, 0, 2, 0, 3});
  for (int extra = 0; extra < 30; ++extra) {
    std::vector<std::vector<int>> tokens{{1}, {1}, {1}, {1}, {1}, {2}, {2}};
    for (int i = 0; i < extra; ++i) tokens.push_back({0});
    // The counts form goes expert by expert, so expert 0 comes from a later rank.
    std::vector<std::vector<int>> later(tokens.begin() + 7, tokens.end());
    tokens.resize(7);
    const LayerRouting routing = routing_of(4, {tokens, later});
    const SlotAssignment by_row = assign("least-loaded", routing, placement);
    const SlotAssignment by_level = assign("least-loaded", counts_only(routing), placement);
    EXPECT_EQ(by_row.rows, by_level.rows) << extra;
  }
}

// Every split, both forms, on random routing and a placement with copies: rows of (source, expert)
// are conserved, every row lands on a copy of its expert, and the matrix agrees with the list.
TEST(ReplicaSplit, EveryRowLandsOnACopyOfItsExpert) {
  RandomStream random(11, "split");
  std::vector<std::vector<std::vector<int>>> tokens(16);
  for (auto& of_rank : tokens) {
    of_rank.resize(random.below(40));
    for (auto& token : of_rank) {
      for (std::uint64_t k = 1 + random.below(4); k > 0; --k) {
        token.push_back(static_cast<int>(random.below(64) * random.below(64) / 64));
      }
    }
  }
  const LayerRouting routing = routing_of(64, tokens);
  PlacementInput input;
  input.experts = 64;
  input.redundant_experts = 21;
  input.ranks = 16;
  input.nodes = 2;
  for (int e = 0; e < 64; ++e) input.load.push_back(64 - e);
  const ExpertPlacement placement = place_experts(find_placement_policy("eplb"), input, random);
  for (const ReplicaSplit& split : kReplicaSplits) {
    for (const LayerRouting& form : {routing, counts_only(routing)}) {
      const SlotAssignment out = assign(split.name, form, placement, 8);
      std::vector<std::int64_t> counts(routing.counts.size(), 0);
      for (int r = 0; r < 16; ++r) {
        for (std::int32_t s = 0; s < out.slots; ++s) {
          const ExpertId expert = placement.slots[static_cast<std::size_t>(s)];
          if (!expert.valid()) {
            EXPECT_EQ(out.rows_from(r, s), 0);
            continue;
          }
          counts[static_cast<std::size_t>(r) * 64 + expert.index()] += out.rows_from(r, s);
        }
      }
      EXPECT_EQ(counts, routing.counts) << split.name;
      for (std::size_t c = 0; c < out.slot_of_choice.size(); ++c) {
        const auto slot = static_cast<std::size_t>(out.slot_of_choice[c]);
        EXPECT_EQ(placement.slots[slot].value(), routing.choices[c]);
      }
    }
  }
}

TEST(ReplicaSplit, AnUnknownNameGetsTheNearestOne) {
  try {
    find_replica_split("nearst");
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "unknown replica split 'nearst'; did you mean 'nearest'?");
  }
}

}  // namespace
}  // namespace sim
