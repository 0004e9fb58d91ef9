// ScheMoE's Pipe-A2A: a rank talks to one peer after another on two streams, the peers of its node
// on one and all others on the other, so that NVLink or PCIe works beside the NIC. With M ranks a
// node, P ranks and t1, t2 per message: max(M t1, (P - M) t2) instead of the sum. S. Shi et al.,
// "ScheMoE: An Extensible Mixture-of-Experts Distributed Training System with Tasks Scheduling",
// EuroSys 2024, section 5.
#include <cstddef>

#include "sim/policies/collectives/exchange_costs.h"
#include "sim/policies/collectives/node_members.h"

namespace sim {

void pipe_inside_beside_outside(const Exchange& exchange, const StartupCost& cost,
                                ExchangeLegs& legs) {
  const std::vector<std::int64_t>& rows = exchange.copies->rows;
  const int ranks = legs.ranks();
  const NodeMembers members(legs);
  const int nodes = members.nodes();
  const int local = members.most_on_a_node();
  std::vector<int> place(static_cast<std::size_t>(ranks));
  for (int n = 0; n < nodes; ++n) {
    for (std::size_t i = 0; i < members.of(n).size(); ++i)
      place[static_cast<std::size_t>(members.of(n)[i])] = static_cast<int>(i);
  }
  // Round (k, j) of a rank at place p of node n: place p + j of node n + k. Nobody sends to two or
  // receives from two in one round. The first round starts the kernels, the rest are one message.
  const auto rounds = [&](int count, int nodes_in_call) {
    std::vector<Duration> delays(static_cast<std::size_t>(count), cost.per_message);
    if (count > 0) delays[0] = stage_start(exchange, cost, ranks, nodes_in_call, 1);
    if (exchange.direction == Direction::kCombine && count > 0)
      std::swap(delays.front(), delays.back());
    return delays;
  };
  const int inside = legs.add_chain(rounds(local, 1));
  const int outside = nodes > 1 ? legs.add_chain(rounds((nodes - 1) * local, nodes)) : -1;
  set_startup_of_stages(exchange, cost, legs.body());
  for (int s = 0; s < ranks; ++s) {
    for (int d = 0; d < ranks; ++d) {
      const int along = (legs.node_of(d) - legs.node_of(s) + nodes) % nodes;
      const int across =
          (place[static_cast<std::size_t>(d)] - place[static_cast<std::size_t>(s)] + local) % local;
      legs.at(along == 0 ? inside : outside, (along == 0 ? 0 : along - 1) * local + across);
      legs.send(s, d,
                rows[static_cast<std::size_t>(s) * static_cast<std::size_t>(ranks) +
                     static_cast<std::size_t>(d)]);
    }
  }
}

}  // namespace sim
