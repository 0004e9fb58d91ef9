// DeepSpeed-MoE's parallelism-coordinated all-to-all: a rank sends to the rank of its own place in
// every tensor-parallel group, and what came is gathered inside the group. With tensor parallelism
// of L over p ranks: p/L messages and an all-gather over L instead of p messages. In combine the
// partial sums of a group are reduced at the rank of that place, which sends them home. S.
// Rajbhandari et al., "DeepSpeed-MoE", ICML 2022, section 5.2.
#include <array>
#include <cstddef>
#include <map>

#include "sim/policies/collectives/exchange_costs.h"
#include "sim/policies/collectives/exchange_legs.h"

namespace sim {
namespace {

enum Stage { kAcross, kInside };

// Members of each tensor-parallel group that has ranks here, by group.
std::map<std::int64_t, std::vector<std::int32_t>> groups_of(const Exchange& exchange) {
  std::map<std::int64_t, std::vector<std::int32_t>> groups;
  for (std::size_t r = 0; r < exchange.ranks.size(); ++r) {
    groups[exchange.ranks[r].value() / exchange.tensor_parallel].push_back(
        static_cast<std::int32_t>(r));
  }
  return groups;
}

}  // namespace

void tensor_coordinated(const Exchange& exchange, const StartupCost& cost, ExchangeLegs& legs) {
  const std::vector<std::int64_t>& rows = exchange.copies->rows;
  const int ranks = legs.ranks();
  const std::size_t width = static_cast<std::size_t>(ranks);
  const auto groups = groups_of(exchange);
  const int count = static_cast<int>(groups.size());
  std::size_t largest = 1;
  for (const auto& [group, members] : groups) largest = std::max(largest, members.size());
  const int inside = static_cast<int>(largest);
  const std::array delays = {stage_start(exchange, cost, count, exchange.copies->nodes, count - 1),
                             stage_start(exchange, cost, inside, 1, inside - 1)};
  const int chain = legs.add_chain(delays);
  set_startup_of_stages(exchange, cost, legs.body());

  std::vector<std::int64_t> came(width, 0);
  legs.at(chain, kAcross);
  for (int s = 0; s < ranks; ++s) {
    const std::size_t place = static_cast<std::size_t>(
        exchange.ranks[static_cast<std::size_t>(s)].value() % exchange.tensor_parallel);
    for (const auto& [group, members] : groups) {
      std::int64_t together = 0;
      for (const std::int32_t d : members)
        together += rows[static_cast<std::size_t>(s) * width + static_cast<std::size_t>(d)];
      const std::int32_t to = members[place % members.size()];
      legs.send(s, to, together);
      came[static_cast<std::size_t>(to)] += together;
    }
  }
  legs.at(chain, kInside);
  for (const auto& [group, members] : groups) {
    for (const std::int32_t from : members) {
      for (const std::int32_t to : members) {
        if (from != to) legs.send(from, to, came[static_cast<std::size_t>(from)]);
      }
    }
  }
}

}  // namespace sim
