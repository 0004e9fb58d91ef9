#include "sim/app/balanced_routing.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace sim {
namespace {

std::vector<double> weights_of(const ExpertPlacement& placement) {
  std::vector<int> filled(static_cast<std::size_t>(placement.ranks), 0);
  for (std::size_t s = 0; s < placement.slots.size(); ++s) {
    if (placement.slots[s].valid())
      ++filled[static_cast<std::size_t>(placement.rank_of(static_cast<std::int32_t>(s)))];
  }
  std::vector<double> weights;
  for (int e = 0; e < placement.experts; ++e) {
    double weight = 0;
    for (const std::int32_t slot : placement.copies(e))
      weight += 1.0 / filled[static_cast<std::size_t>(placement.rank_of(slot))];
    weights.push_back(weight);
  }
  return weights;
}

}  // namespace

std::vector<std::int64_t> balanced_rows(std::span<const std::int64_t> present,
                                        std::span<const double> weights) {
  const std::int64_t total = std::accumulate(present.begin(), present.end(), std::int64_t{0});
  const double all = std::accumulate(weights.begin(), weights.end(), 0.0);
  std::vector<std::int64_t> rows(present.size());
  std::vector<double> part(present.size());
  std::int64_t left = total;
  for (std::size_t e = 0; e < rows.size(); ++e) {
    const double exact = static_cast<double>(total) * weights[e] / all;
    // A share that is whole but for rounding is whole.
    rows[e] = static_cast<std::int64_t>(std::floor(exact + 1e-9));
    part[e] = std::round((exact - static_cast<double>(rows[e])) * 1e9);
    left -= rows[e];
  }
  std::vector<std::size_t> order(rows.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return part[a] != part[b] ? part[a] > part[b] : present[a] > present[b];
  });
  for (std::size_t i = 0; left > 0; ++i, --left) ++rows[order[i % order.size()]];
  return rows;
}

BalancedRouting::BalancedRouting(RoutingSource& inner,
                                 const std::vector<ExpertPlacement>& placements,
                                 const ParallelLayout& layout, const std::vector<int>& node_of_rank)
    : inner_(inner),
      placements_(placements),
      groups_(static_cast<std::size_t>(layout.ep_groups())),
      node_of_rank_(node_of_rank) {
  for (int r = 0; r < layout.world; ++r)
    groups_[static_cast<std::size_t>(layout.ep_group(r))].push_back(r);
}

void BalancedRouting::fill(int step, int layer, LayerRouting& out) {
  inner_.fill(step, layer, out);
  const ExpertPlacement& placement = placements_[static_cast<std::size_t>(layer)];
  // A source may cover fewer ranks than the cluster has (those of one pipeline stage).
  for (const std::vector<int>& group : groups_) {
    if (group.back() < out.ranks) balance(out, placement, group);
  }
}

void BalancedRouting::balance(LayerRouting& out, const ExpertPlacement& placement,
                              std::span<const int> ranks) {
  const std::size_t experts = static_cast<std::size_t>(out.experts);
  std::vector<std::int64_t> present(experts, 0);
  for (const int r : ranks) {
    for (std::size_t e = 0; e < experts; ++e)
      present[e] += out.counts[static_cast<std::size_t>(r) * experts + e];
  }
  const std::vector<std::int64_t> wanted = balanced_rows(present, weights_of(placement));
  std::vector<int> node(experts);
  int nodes = 1;
  for (std::size_t e = 0; e < experts; ++e) {
    const std::size_t rank =
        static_cast<std::size_t>(placement.rank_of(placement.copies(static_cast<int>(e)).front()));
    node[e] = node_of_rank_[static_cast<std::size_t>(ranks[rank])] -
              node_of_rank_[static_cast<std::size_t>(ranks.front())];
    nodes = std::max(nodes, node[e] + 1);
  }
  Takers takers;
  takers.of_node.resize(static_cast<std::size_t>(nodes));
  takers.next.assign(static_cast<std::size_t>(nodes), 0);
  std::vector<std::int64_t> surplus(experts, 0);
  takers.room.assign(experts, 0);
  for (std::size_t e = 0; e < experts; ++e) {
    if (present[e] > wanted[e]) surplus[e] = present[e] - wanted[e];
    if (present[e] >= wanted[e]) continue;
    takers.room[e] = wanted[e] - present[e];
    takers.left += takers.room[e];
    takers.of_node[static_cast<std::size_t>(node[e])].push_back(static_cast<int>(e));
  }
  if (takers.left == 0) return;
  if (out.per_token) {
    move_tokens(out, ranks, node, surplus, takers);
  } else {
    move_counts(out, ranks, surplus, takers);
  }
}

// Twice: first every so many-th choice of an expert with too many, to one of its node; then
// whatever can move to anywhere. A token keeps distinct experts, so that in tiny cases a row may
// stay.
void BalancedRouting::move_tokens(LayerRouting& out, std::span<const int> ranks,
                                  std::span<const int> node, std::vector<std::int64_t>& surplus,
                                  Takers& takers) const {
  const std::size_t experts = static_cast<std::size_t>(out.experts);
  std::vector<std::int64_t> choices(experts, 0), seen(experts, 0);
  for (const int r : ranks) {
    for (std::size_t e = 0; e < experts; ++e)
      choices[e] += out.counts[static_cast<std::size_t>(r) * experts + e];
  }
  const std::vector<std::int64_t> all_surplus = surplus;
  const auto take = [&](std::span<std::uint16_t> token, std::size_t n) {
    std::vector<int>& list = takers.of_node[n];
    for (std::size_t tried = 0; tried < list.size(); ++tried) {
      const std::size_t at = (takers.next[n] + tried) % list.size();
      const int e = list[at];
      if (std::find(token.begin(), token.end(), static_cast<std::uint16_t>(e)) != token.end())
        continue;
      takers.next[n] = at + 1;
      --takers.left;
      if (--takers.room[static_cast<std::size_t>(e)] == 0) {
        list.erase(list.begin() + static_cast<std::ptrdiff_t>(at));
        takers.next[n] = at;
      }
      return e;
    }
    return -1;
  };
  for (const bool in_node : {true, false}) {
    for (const int r : ranks) {
      std::int64_t* const counts = out.counts.data() + static_cast<std::size_t>(r) * experts;
      for (std::int64_t t = out.rank_begin[static_cast<std::size_t>(r)];
           t < out.rank_begin[static_cast<std::size_t>(r) + 1] && takers.left > 0; ++t) {
        const std::size_t first =
            static_cast<std::size_t>(out.choice_begin[static_cast<std::size_t>(t)]);
        const std::size_t end =
            static_cast<std::size_t>(out.choice_begin[static_cast<std::size_t>(t) + 1]);
        const std::span<std::uint16_t> token(out.choices.data() + first, end - first);
        for (std::uint16_t& choice : token) {
          const std::size_t e = choice;
          if (all_surplus[e] == 0) continue;
          const std::int64_t nth = seen[e]++;
          if (surplus[e] == 0) continue;
          // Of `choices` of it, `all_surplus` in even steps.
          if (in_node &&
              (nth + 1) * all_surplus[e] / choices[e] == nth * all_surplus[e] / choices[e])
            continue;
          int to = take(token, static_cast<std::size_t>(node[e]));
          for (std::size_t n = 0; to < 0 && !in_node && n < takers.of_node.size(); ++n)
            to = take(token, n);
          if (to < 0) continue;
          choice = static_cast<std::uint16_t>(to);
          --surplus[e];
          --counts[e];
          ++counts[static_cast<std::size_t>(to)];
        }
      }
    }
    std::fill(seen.begin(), seen.end(), 0);
  }
}

// Of every source rank its share of what an expert has too many, in turn over those that take.
void BalancedRouting::move_counts(LayerRouting& out, std::span<const int> ranks,
                                  std::vector<std::int64_t>& surplus, Takers& takers) {
  const std::size_t experts = static_cast<std::size_t>(out.experts);
  std::vector<int> list;
  for (const std::vector<int>& of_node : takers.of_node)
    list.insert(list.end(), of_node.begin(), of_node.end());
  std::size_t next = 0;
  for (std::size_t e = 0; e < experts; ++e) {
    std::int64_t of_all = 0;
    for (const int r : ranks) of_all += out.counts[static_cast<std::size_t>(r) * experts + e];
    std::int64_t before = 0, moved = 0;
    for (const int r : ranks) {
      std::int64_t* const counts = out.counts.data() + static_cast<std::size_t>(r) * experts;
      before += counts[e];
      if (surplus[e] == 0) continue;
      const std::int64_t until =
          static_cast<std::int64_t>(static_cast<double>(before) * static_cast<double>(surplus[e]) /
                                    static_cast<double>(of_all));
      std::int64_t left = before == of_all ? surplus[e] - moved : until - moved;
      left = std::min(left, counts[e]);
      moved += left;
      const std::int64_t chunk =
          std::max<std::int64_t>(1, left / static_cast<std::int64_t>(list.size()));
      while (left > 0 && !list.empty()) {
        if (next >= list.size()) next = 0;
        const std::size_t to = static_cast<std::size_t>(list[next]);
        const std::int64_t rows = std::min({chunk, left, takers.room[to]});
        counts[e] -= rows;
        counts[to] += rows;
        left -= rows;
        takers.room[to] -= rows;
        if (takers.room[to] == 0) {
          list.erase(list.begin() + static_cast<std::ptrdiff_t>(next));
        } else {
          ++next;
        }
      }
    }
  }
}

}  // namespace sim
