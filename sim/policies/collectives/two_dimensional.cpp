// Tutel's two-dimensional hierarchical all-to-all: rows for a distant rank first go to the rank of
// the own node that has the receiver's place, so that a message between nodes carries the rows of a
// whole node. A stride copy of all rows comes before either exchange.
// C. Hwang et al., "Tutel: Adaptive Mixture-of-Experts at Scale", MLSys 2023, section 4.3.
#include <array>
#include <cstddef>

#include "sim/policies/collectives/exchange_costs.h"
#include "sim/policies/collectives/node_members.h"

namespace sim {
namespace {

enum Stage { kCopy, kInside, kCopyAgain, kOutside };

}  // namespace

void two_dimensional(const Exchange& exchange, const StartupCost& cost, ExchangeLegs& legs) {
  const std::vector<std::int64_t>& rows = exchange.copies->rows;
  const int ranks = legs.ranks();
  const std::size_t width = static_cast<std::size_t>(ranks);
  const NodeMembers members(legs);
  const int local = members.most_on_a_node();
  const std::array delays = {
      Duration(0), stage_start(exchange, cost, local, 1, local - 1), Duration(0),
      stage_start(exchange, cost, ranks, members.nodes(), members.nodes() - 1)};
  const int chain = legs.add_chain(delays);
  set_startup_of_stages(exchange, cost, legs.body());

  std::vector<std::int64_t> to_member(width);
  std::vector<std::int64_t> to_rank(width);
  for (int node = 0; node < members.nodes(); ++node) {
    for (const std::int32_t s : members.of(node)) {
      std::fill(to_member.begin(), to_member.end(), 0);
      std::int64_t own = 0;
      for (int d = 0; d < ranks; ++d) {
        const std::int64_t count =
            rows[static_cast<std::size_t>(s) * width + static_cast<std::size_t>(d)];
        to_member[static_cast<std::size_t>(members.on_rail(node, legs.rail_of(d)))] += count;
        own += count;
      }
      legs.at(chain, kCopy);
      legs.copy_inside(s, own);
      legs.at(chain, kInside);
      for (const std::int32_t m : members.of(node))
        legs.send(s, m, to_member[static_cast<std::size_t>(m)]);
    }
    for (const std::int32_t m : members.of(node)) {
      std::fill(to_rank.begin(), to_rank.end(), 0);
      std::int64_t carried = 0;
      for (int d = 0; d < ranks; ++d) {
        if (members.on_rail(node, legs.rail_of(d)) != m) continue;
        for (const std::int32_t s : members.of(node)) {
          to_rank[static_cast<std::size_t>(d)] +=
              rows[static_cast<std::size_t>(s) * width + static_cast<std::size_t>(d)];
        }
        carried += to_rank[static_cast<std::size_t>(d)];
      }
      legs.at(chain, kCopyAgain);
      legs.copy_inside(m, carried);
      legs.at(chain, kOutside);
      for (int d = 0; d < ranks; ++d) legs.send(m, d, to_rank[static_cast<std::size_t>(d)]);
    }
  }
}

}  // namespace sim
