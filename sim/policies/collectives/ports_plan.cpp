#include "sim/policies/collectives/ports_plan.h"

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>

namespace sim {
namespace {

// The rank of a node on a source's rail; where the group has none there, its ranks stand in turn.
class Relays {
 public:
  Relays(const Exchange& exchange, int nodes, const Cluster& cluster)
      : members_(static_cast<std::size_t>(nodes)), on_rail_(static_cast<std::size_t>(nodes)) {
    for (std::size_t r = 0; r < exchange.ranks.size(); ++r) {
      const auto node = static_cast<std::size_t>(exchange.node_of_rank[r]);
      rail_.push_back(
          static_cast<std::size_t>(cluster.devices[exchange.ranks[r].index()].index_in_node));
      members_[node].push_back(r);
      if (on_rail_[node].size() <= rail_[r]) on_rail_[node].resize(rail_[r] + 1, kNone);
      on_rail_[node][rail_[r]] = r;
    }
  }
  std::size_t of(std::size_t source, int node) const {
    const auto n = static_cast<std::size_t>(node);
    const std::size_t rail = rail_[source];
    if (rail < on_rail_[n].size() && on_rail_[n][rail] != kNone) return on_rail_[n][rail];
    return members_[n][rail % members_[n].size()];
  }

 private:
  static constexpr std::size_t kNone = static_cast<std::size_t>(-1);
  std::vector<std::size_t> rail_;                  // of each rank
  std::vector<std::vector<std::size_t>> members_;  // by node
  std::vector<std::vector<std::size_t>> on_rail_;
};

class Planner {
 public:
  Planner(const Exchange& exchange, const PortLevels& levels)
      : exchange_(exchange), levels_(levels) {
    const std::size_t ranks = exchange.ranks.size();
    plan_.crossings.assign(ranks, {});
    plan_.nearest.assign(ranks, PortDistance::kSelf);
    plan_.in_domain.assign(ranks, false);
    plan_.pairs.begin.push_back(0);
  }
  void direct(const PortCopies& copies);
  void forward(const PortCopies& copies, const Relays& relays);
  PortPlan take() { return std::move(plan_); }

 private:
  void add(std::size_t source, std::size_t rank, std::int64_t count);
  void end_source();
  void pass_on(std::int32_t relay_endpoint, std::int32_t rank);
  void meet(std::size_t rank, PortDistance distance);

  const Exchange& exchange_;
  const PortLevels& levels_;
  PortPlan plan_;
  std::vector<PortPairs::Pair> outside_;              // of the source at hand
  std::vector<std::vector<std::int32_t>> passed_on_;  // by endpoint of the relay
};

void Planner::meet(std::size_t rank, PortDistance distance) {
  if (distance == PortDistance::kDomain) {
    plan_.in_domain[rank] = true;
  } else if (plan_.nearest[rank] == PortDistance::kSelf || distance < plan_.nearest[rank]) {
    plan_.nearest[rank] = distance;
  }
}

// One pair that is neither passed on nor relayed.
void Planner::add(std::size_t s, std::size_t d, std::int64_t count) {
  const PortDistance distance = levels_.distance(exchange_.ranks[s], exchange_.ranks[d]);
  auto& from = plan_.crossings[s];
  auto& to = plan_.crossings[d];
  const auto units = static_cast<std::uint32_t>(count);
  const auto other = static_cast<std::int32_t>(2 * d);
  if (distance == PortDistance::kDomain) {
    from[kScaleUpOut] += count;
    to[kScaleUpIn] += count;
    plan_.pairs.pairs.push_back({other, units, units});
  } else {
    from[kNicOut] += count;
    to[kNicIn] += count;
    if (distance == PortDistance::kSpine) {
      from[kLeafOut] += count;
      to[kLeafIn] += count;
    }
    outside_.push_back({other + 1, units, units});
  }
  meet(s, distance);
  meet(d, distance);
}

// The source's scale-up pairs stand in the list already; its other ones follow.
void Planner::end_source() {
  std::vector<PortPairs::Pair>& pairs = plan_.pairs.pairs;
  plan_.pairs.begin.push_back(static_cast<std::uint32_t>(pairs.size()));
  pairs.insert(pairs.end(), outside_.begin(), outside_.end());
  plan_.pairs.begin.push_back(static_cast<std::uint32_t>(pairs.size()));
  outside_.clear();
}

// Noted once; a relay has few ranks to pass on to.
void Planner::pass_on(std::int32_t relay_endpoint, std::int32_t rank) {
  std::vector<std::int32_t>& ranks = passed_on_[static_cast<std::size_t>(relay_endpoint)];
  if (std::find(ranks.begin(), ranks.end(), rank) == ranks.end()) ranks.push_back(rank);
}

void Planner::direct(const PortCopies& copies) {
  for (std::size_t s = 0; s < exchange_.ranks.size(); ++s) {
    for (const SparseCopies::Entry& entry : copies.to_ranks.of(s)) {
      add(s, static_cast<std::size_t>(entry.to), entry.copies);
    }
    end_source();
  }
}

// To another node one copy per (token, node), to its rank on the source's rail, which passes on one
// per (token, rank). The last stop holds the source as long as the relay's copies do.
void Planner::forward(const PortCopies& copies, const Relays& relays) {
  passed_on_.resize(2 * exchange_.ranks.size());
  for (std::size_t s = 0; s < exchange_.ranks.size(); ++s) {
    const std::span<const SparseCopies::Entry> nodes = copies.to_nodes.of(s);
    for (const SparseCopies::Entry& entry : nodes) {
      add(s, relays.of(s, entry.to), entry.copies);
    }
    auto node_entry = nodes.begin();
    for (const SparseCopies::Entry& entry : copies.to_ranks.of(s)) {
      const auto d = static_cast<std::size_t>(entry.to);
      const int node = exchange_.node_of_rank[d];
      if (node == exchange_.node_of_rank[s]) {
        add(s, d, entry.copies);
        continue;
      }
      const std::size_t relay = relays.of(s, node);
      if (relay == d) continue;  // it has them already
      if (node_entry == nodes.end() || node_entry->to != node) {
        node_entry = std::find_if(nodes.begin(), nodes.end(),
                                  [&](const auto& each) { return each.to == node; });
      }
      const bool inside =
          levels_.distance(exchange_.ranks[s], exchange_.ranks[relay]) == PortDistance::kDomain;
      plan_.crossings[relay][inside ? kPassedOnInside : kPassedOn] += entry.copies;
      plan_.crossings[d][kScaleUpIn] += entry.copies;
      pass_on(static_cast<std::int32_t>(2 * relay + (inside ? 0 : 1)),
              static_cast<std::int32_t>(d));
      (inside ? plan_.pairs.pairs : outside_)
          .push_back({static_cast<std::int32_t>(2 * d), node_entry->copies, entry.copies});
    }
    end_source();
  }
  for (std::size_t e = 0; e < passed_on_.size(); ++e) {
    std::sort(passed_on_[e].begin(), passed_on_[e].end());
    for (const std::int32_t rank : passed_on_[e]) {
      plan_.passed_on.push_back({static_cast<std::int32_t>(e), rank});
    }
  }
}

}  // namespace

PortPlan make_port_plan(const Exchange& exchange, const PortCopies& copies, const Cluster& cluster,
                        const PortLevels& levels) {
  Planner planner(exchange, levels);
  if (copies.form == PortForm::kPerNode) {
    planner.forward(copies, Relays(exchange, copies.nodes, cluster));
  } else {
    planner.direct(copies);
  }
  return planner.take();
}

}  // namespace sim
