// Which ranks of a group share a node, and who relays for whom.
#pragma once

#include <cstdint>
#include <vector>

#include "sim/policies/collectives/exchange_legs.h"

namespace sim {

class NodeMembers {
 public:
  explicit NodeMembers(const ExchangeLegs& legs);

  int nodes() const { return static_cast<int>(members_.size()); }
  const std::vector<std::int32_t>& of(int node) const {
    return members_[static_cast<std::size_t>(node)];
  }
  int most_on_a_node() const;
  // The member of `node` on this rail; when no rank of the group is there, the members stand in
  // turn, so that relayed work is still spread.
  int on_rail(int node, int rail) const;

 private:
  std::vector<std::vector<std::int32_t>> members_;  // by node, in rank order
  std::vector<std::vector<std::int32_t>> on_rail_;  // by node, then rail; -1: no member
};

}  // namespace sim
