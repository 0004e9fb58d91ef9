#include "sim/policies/collectives/node_members.h"

#include <algorithm>

namespace sim {

NodeMembers::NodeMembers(const ExchangeLegs& legs) {
  const std::size_t nodes = static_cast<std::size_t>(legs.copies().nodes);
  members_.resize(nodes);
  on_rail_.resize(nodes);
  for (int r = 0; r < legs.ranks(); ++r) {
    const std::size_t node = static_cast<std::size_t>(legs.node_of(r));
    const std::size_t rail = static_cast<std::size_t>(legs.rail_of(r));
    members_[node].push_back(r);
    std::vector<std::int32_t>& rails = on_rail_[node];
    if (rails.size() <= rail) rails.resize(rail + 1, -1);
    rails[rail] = r;
  }
}

int NodeMembers::most_on_a_node() const {
  std::size_t most = 0;
  for (const auto& list : members_) most = std::max(most, list.size());
  return static_cast<int>(most);
}

int NodeMembers::on_rail(int node, int rail) const {
  const std::vector<std::int32_t>& rails = on_rail_[static_cast<std::size_t>(node)];
  const std::size_t at = static_cast<std::size_t>(rail);
  if (at < rails.size() && rails[at] >= 0) return rails[at];
  const std::vector<std::int32_t>& list = members_[static_cast<std::size_t>(node)];
  return list[at % list.size()];
}

}  // namespace sim
