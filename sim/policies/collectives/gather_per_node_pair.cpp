// HetuMoE's hierarchical all-to-all: rows for another node are gathered at one rank of the own
// node, go there in one message, and are scattered there. Rows are laid out anew before they leave
// and after they came.
//
// HetuMoE has one NIC per node and so one leader. Here the pair (n, m) of nodes has the member at
// place (n + m) modulo the smaller node on both sides, so that node pairs take turns with the NICs;
// two nodes alone use one NIC, as one message per pair of nodes means.
// X. Nie et al., "HetuMoE: An Efficient Trillion-scale Mixture-of-Expert Distributed Training
// System", arXiv:2203.14685, section 3.2.
#include <algorithm>
#include <array>
#include <cstddef>

#include "sim/policies/collectives/exchange_costs.h"
#include "sim/policies/collectives/node_members.h"

namespace sim {
namespace {

enum Stage { kGather, kCopy, kOutside, kCopyAgain, kScatter };

std::int32_t leader(const NodeMembers& members, int node, int peer) {
  const std::size_t smaller = std::min(members.of(node).size(), members.of(peer).size());
  return members.of(node)[static_cast<std::size_t>(node + peer) % smaller];
}

}  // namespace

void gather_per_node_pair(const Exchange& exchange, const StartupCost& cost, ExchangeLegs& legs) {
  const std::vector<std::int64_t>& rows = exchange.copies->rows;
  const std::size_t width = static_cast<std::size_t>(legs.ranks());
  const auto rows_of = [&](std::int32_t s, std::int32_t d) {
    return rows[static_cast<std::size_t>(s) * width + static_cast<std::size_t>(d)];
  };
  const NodeMembers members(legs);
  const int local = members.most_on_a_node();
  const int others = members.nodes() - 1;
  const Duration inside = stage_start(exchange, cost, local, 1, local - 1);
  const std::array delays = {inside, Duration(0),
                             stage_start(exchange, cost, members.nodes(), members.nodes(), others),
                             Duration(0), others > 0 ? inside : Duration(0)};
  const int chain = legs.add_chain(delays);
  set_startup_of_stages(exchange, cost, legs.body());

  std::vector<std::int64_t> to_member(width);
  std::vector<std::int64_t> leaving(width, 0);  // by leader: all rows it sends to other nodes
  std::vector<std::int64_t> coming(width, 0);
  for (int node = 0; node < members.nodes(); ++node) {
    for (const std::int32_t s : members.of(node)) {
      std::fill(to_member.begin(), to_member.end(), 0);
      for (int d = 0; d < legs.ranks(); ++d) {
        const int target = legs.node_of(d);
        const std::int32_t m = target == node ? d : leader(members, node, target);
        to_member[static_cast<std::size_t>(m)] += rows_of(s, d);
      }
      legs.at(chain, kGather);
      for (const std::int32_t m : members.of(node))
        legs.send(s, m, to_member[static_cast<std::size_t>(m)]);
    }
    for (int peer = 0; peer < members.nodes(); ++peer) {
      if (peer == node) continue;
      const std::int32_t from = leader(members, node, peer);
      const std::int32_t to = leader(members, peer, node);
      std::int64_t together = 0;
      legs.at(chain, kScatter);
      for (const std::int32_t d : members.of(peer)) {
        std::int64_t count = 0;
        for (const std::int32_t s : members.of(node)) count += rows_of(s, d);
        legs.send(to, d, count);
        together += count;
      }
      legs.at(chain, kOutside);
      legs.send(from, to, together);
      leaving[static_cast<std::size_t>(from)] += together;
      coming[static_cast<std::size_t>(to)] += together;
    }
  }
  for (int r = 0; r < legs.ranks(); ++r) {
    legs.at(chain, kCopy);
    legs.copy_inside(r, leaving[static_cast<std::size_t>(r)]);
    legs.at(chain, kCopyAgain);
    legs.copy_inside(r, coming[static_cast<std::size_t>(r)]);
  }
}

}  // namespace sim
