// Placements that give every expert one home, then fill the slots left with copies.
#include <algorithm>
#include <numeric>
#include <queue>
#include <utility>

#include "sim/core/error.h"
#include "sim/policies/placement/placement.h"
#include "traces/expert_block.h"

namespace sim {
namespace {

std::size_t size_of(int n) { return static_cast<std::size_t>(n); }

// One list of experts per rank -> slots in rank order, empty ones at the end of each rank.
std::vector<ExpertId> to_slots(const PlacementInput& input,
                               const std::vector<std::vector<int>>& by_rank) {
  std::vector<ExpertId> slots(size_of(input.ranks) * size_of(input.slots_per_rank()));
  for (std::size_t rank = 0; rank < by_rank.size(); ++rank) {
    SIM_CHECK(by_rank[rank].size() <= size_of(input.slots_per_rank()), "a rank has slots enough");
    for (std::size_t s = 0; s < by_rank[rank].size(); ++s) {
      slots[rank * size_of(input.slots_per_rank()) + s] = ExpertId(by_rank[rank][s]);
    }
  }
  return slots;
}

// Experts in the given order in blocks whose sizes differ by at most one, larger ones first.
std::vector<std::vector<int>> in_blocks(const std::vector<int>& order, int ranks) {
  std::vector<std::vector<int>> by_rank(size_of(ranks));
  for (int rank = 0; rank < ranks; ++rank) {
    const ExpertBlock block = block_of_rank(static_cast<int>(order.size()), ranks, rank);
    const auto first = order.begin() + block.first;
    by_rank[size_of(rank)].assign(first, first + block.size);
  }
  return by_rank;
}

std::vector<int> in_order(int experts) {
  std::vector<int> order(size_of(experts));
  std::iota(order.begin(), order.end(), 0);
  return order;
}

std::vector<ExpertId> with_copies(const PlacementInput& input,
                                  const std::vector<std::vector<int>>& by_rank) {
  std::vector<ExpertId> slots = to_slots(input, by_rank);
  add_redundant_copies(input, slots);
  return slots;
}

// The state of add_redundant_copies: who holds what, and how loaded each rank is.
class CopyPlacer {
 public:
  CopyPlacer(const PlacementInput& input, std::vector<ExpertId>& slots)
      : slots_(slots),
        per_rank_(size_of(input.slots_per_rank())),
        load_(effective_load(input)),
        ranks_of_(size_of(input.experts)),
        rank_load_(size_of(input.ranks), 0.0),
        used_(size_of(input.ranks), 0),
        holds_(size_of(input.ranks), -1) {
    for (std::size_t slot = 0; slot < slots.size(); ++slot) {
      if (!slots[slot].valid()) continue;
      ranks_of_[slots[slot].index()].push_back(slot / per_rank_);
      rank_load_[slot / per_rank_] += load_[slots[slot].index()];
      ++used_[slot / per_rank_];
    }
    for (int e = 0; e < input.experts; ++e) by_load_.push({load_[size_of(e)], -e});
  }

  // An expert that finds no rank now never will (free ranks only become fewer), so it is dropped.
  void add_one() {
    while (!by_load_.empty()) {
      const int expert = -by_load_.top().second;
      by_load_.pop();
      const std::size_t rank = least_loaded_rank_without(expert);
      if (rank == used_.size()) {
        full_.push_back(expert);
        continue;
      }
      put(expert, rank);
      by_load_.push({share(expert), -expert});
      return;
    }
    // Unavoidable: every rank with a slot left already holds every expert.
    const auto most = std::max_element(full_.begin(), full_.end(),
                                       [&](int a, int b) { return share(a) < share(b); });
    put(*most, least_loaded_rank_without(-1));
  }

 private:
  double share(int expert) const {
    return load_[size_of(expert)] / static_cast<double>(ranks_of_[size_of(expert)].size());
  }

  std::size_t least_loaded_rank_without(int expert) {
    if (expert >= 0) {
      for (const std::size_t rank : ranks_of_[size_of(expert)]) holds_[rank] = expert;
    }
    std::size_t best = used_.size();
    for (std::size_t rank = 0; rank < used_.size(); ++rank) {
      if (used_[rank] == per_rank_ || (expert >= 0 && holds_[rank] == expert)) continue;
      if (best == used_.size() || rank_load_[rank] < rank_load_[best]) best = rank;
    }
    return best;
  }

  void put(int expert, std::size_t rank) {
    const double before = share(expert);
    auto& ranks = ranks_of_[size_of(expert)];
    ranks.push_back(rank);
    for (const std::size_t other : ranks) rank_load_[other] += share(expert);
    for (std::size_t k = 0; k + 1 < ranks.size(); ++k) rank_load_[ranks[k]] -= before;
    slots_[rank * per_rank_ + used_[rank]++] = ExpertId(expert);
  }

  std::vector<ExpertId>& slots_;
  std::size_t per_rank_;
  std::vector<double> load_;
  std::vector<std::vector<std::size_t>> ranks_of_;
  std::vector<double> rank_load_;
  std::vector<std::size_t> used_;  // slots in use, from the front of the rank
  std::vector<int> holds_;         // last expert asked about that this rank holds
  std::priority_queue<std::pair<double, int>> by_load_;  // load per copy, then lowest index
  std::vector<int> full_;
};

}  // namespace

void add_redundant_copies(const PlacementInput& input, std::vector<ExpertId>& slots) {
  if (input.redundant_experts == 0) return;
  CopyPlacer placer(input, slots);
  for (int copy = 0; copy < input.redundant_experts; ++copy) placer.add_one();
}

std::vector<ExpertId> place_contiguous(const PlacementInput& input, RandomStream&) {
  return with_copies(input, in_blocks(in_order(input.experts), input.ranks));
}

std::vector<ExpertId> place_round_robin(const PlacementInput& input, RandomStream&) {
  std::vector<std::vector<int>> by_rank(size_of(input.ranks));
  for (int e = 0; e < input.experts; ++e) by_rank[size_of(e % input.ranks)].push_back(e);
  return with_copies(input, by_rank);
}

std::vector<ExpertId> place_random(const PlacementInput& input, RandomStream& random) {
  std::vector<int> order = in_order(input.experts);
  random.shuffle(order);
  return with_copies(input, in_blocks(order, input.ranks));
}

std::vector<ExpertId> place_balanced(const PlacementInput& input, RandomStream&) {
  const std::vector<double> load = effective_load(input);
  std::vector<int> order = in_order(input.experts);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return load[size_of(a)] > load[size_of(b)]; });
  // Room for an equal share of the experts only: were the light experts to fill whole ranks, copies
  // of the hottest could go nowhere but to other hot ranks.
  const std::size_t room = size_of((input.experts + input.ranks - 1) / input.ranks);
  std::vector<std::vector<int>> by_rank(size_of(input.ranks));
  using LoadedRank = std::pair<double, std::size_t>;  // least loaded first, ties by lowest rank
  std::priority_queue<LoadedRank, std::vector<LoadedRank>, std::greater<>> free_ranks;
  for (std::size_t rank = 0; rank < by_rank.size(); ++rank) free_ranks.push({0.0, rank});
  for (const int expert : order) {
    const auto [rank_load, rank] = free_ranks.top();
    free_ranks.pop();
    by_rank[rank].push_back(expert);
    if (by_rank[rank].size() < room) {
      free_ranks.push({rank_load + load[size_of(expert)], rank});
    }
  }
  return with_copies(input, by_rank);
}

}  // namespace sim
