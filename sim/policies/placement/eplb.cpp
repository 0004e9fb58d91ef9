// Expert Parallelism Load Balancer, from the algorithm published in deepseek-ai/EPLB (README.md and
// eplb.py, 2025-03): pack expert groups to nodes, give the next copy to the expert with the
// greatest load per copy, pack the copies to ranks.
//
// Ours beyond the published form: copies that do not divide by ranks leave empty slots (published:
// refused), and loads are doubles (published: float32). As published, two copies of one expert may
// share a rank; ExpertPlacement::wasted_copies counts them.
#include <algorithm>
#include <numeric>
#include <queue>
#include <utility>

#include "sim/core/error.h"
#include "sim/policies/placement/placement.h"

namespace sim {
namespace {

std::size_t size_of(int n) { return static_cast<std::size_t>(n); }

// Heaviest item first to the lightest pack with room; ties by lowest index. Items of a pack are in
// the order in which they came. With one item per pack, item i is pack i.
std::vector<std::vector<int>> balanced_packing(const std::vector<double>& weight, int packs,
                                               std::size_t room) {
  SIM_CHECK(weight.size() <= size_of(packs) * room, "the packs have room for every item");
  std::vector<std::vector<int>> packed(size_of(packs));
  if (room == 1) {
    for (std::size_t i = 0; i < weight.size(); ++i) packed[i].push_back(static_cast<int>(i));
    return packed;
  }
  std::vector<int> order(weight.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int a, int b) { return weight[size_of(a)] > weight[size_of(b)]; });
  using WeightedPack = std::pair<double, std::size_t>;
  std::priority_queue<WeightedPack, std::vector<WeightedPack>, std::greater<>> open;
  for (std::size_t pack = 0; pack < packed.size(); ++pack) open.push({0.0, pack});
  for (const int item : order) {
    const auto [pack_weight, pack] = open.top();
    open.pop();
    packed[pack].push_back(item);
    if (packed[pack].size() < room) open.push({pack_weight + weight[size_of(item)], pack});
  }
  return packed;
}

// Item per copy: every item once, then one more copy at a time for the greatest load per copy
// (ties by lowest index). `count` receives the copies of each item.
std::vector<int> replicate(const std::vector<double>& load, int copies, std::vector<int>& count) {
  std::vector<int> item_of_copy(load.size());
  std::iota(item_of_copy.begin(), item_of_copy.end(), 0);
  count.assign(load.size(), 1);
  std::priority_queue<std::pair<double, int>> next;
  for (std::size_t i = 0; i < load.size(); ++i) next.push({load[i], -static_cast<int>(i)});
  while (item_of_copy.size() < size_of(copies)) {
    const int item = -next.top().second;
    next.pop();
    item_of_copy.push_back(item);
    next.push({load[size_of(item)] / ++count[size_of(item)], -item});
  }
  return item_of_copy;
}

// Copies and packs the experts of one node. `out` is the node's first slot.
void place_in_node(const std::vector<int>& experts, const std::vector<double>& load, int copies,
                   int ranks, int slots_per_rank, ExpertId* out) {
  std::vector<double> own_load;
  own_load.reserve(experts.size());
  for (const int expert : experts) own_load.push_back(load[size_of(expert)]);
  std::vector<int> count;
  const std::vector<int> item_of_copy = replicate(own_load, copies, count);
  std::vector<double> copy_load;
  copy_load.reserve(item_of_copy.size());
  for (const int item : item_of_copy) {
    copy_load.push_back(own_load[size_of(item)] / count[size_of(item)]);
  }
  const auto by_rank = balanced_packing(copy_load, ranks, size_of(slots_per_rank));
  for (std::size_t rank = 0; rank < by_rank.size(); ++rank) {
    for (std::size_t s = 0; s < by_rank[rank].size(); ++s) {
      out[rank * size_of(slots_per_rank) + s] =
          ExpertId(experts[size_of(item_of_copy[size_of(by_rank[rank][s])])]);
    }
  }
}

std::vector<ExpertId> place_hierarchical(const PlacementInput& input, int groups, int nodes) {
  const std::vector<double> load = effective_load(input);
  const int group_size = input.experts / groups;
  std::vector<double> group_load(size_of(groups), 0.0);
  for (int e = 0; e < input.experts; ++e) group_load[size_of(e / group_size)] += load[size_of(e)];
  const auto groups_of_node = balanced_packing(group_load, nodes, size_of(groups / nodes));

  const int ranks_per_node = input.ranks / nodes;
  const std::size_t slots_per_node = size_of(ranks_per_node) * size_of(input.slots_per_rank());
  std::vector<ExpertId> slots(size_of(nodes) * slots_per_node);
  for (int node = 0; node < nodes; ++node) {
    std::vector<int> experts;
    for (const int group : groups_of_node[size_of(node)]) {
      for (int k = 0; k < group_size; ++k) experts.push_back(group * group_size + k);
    }
    const int copies =
        input.physical_experts() / nodes + (node < input.physical_experts() % nodes ? 1 : 0);
    place_in_node(experts, load, copies, ranks_per_node, input.slots_per_rank(),
                  slots.data() + size_of(node) * slots_per_node);
  }
  return slots;
}

}  // namespace

std::vector<ExpertId> place_eplb(const PlacementInput& input, RandomStream&) {
  const bool hierarchical = input.groups % input.nodes == 0 && input.experts % input.groups == 0 &&
                            input.ranks % input.nodes == 0;
  return hierarchical ? place_hierarchical(input, input.groups, input.nodes)
                      : place_hierarchical(input, 1, 1);
}

std::vector<ExpertId> place_eplb_global(const PlacementInput& input, RandomStream&) {
  return place_hierarchical(input, 1, 1);
}

}  // namespace sim
