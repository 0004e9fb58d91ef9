// DeepEP's normal kernels. Inside the source's node: one copy per (token, rank) over NVLink. To
// another node: one copy per (token, node) to the rank there on the source's rail, which forwards
// one copy per (token, rank) while it arrives; as one transfer whose forwards are multipliers on
// the forwarder's NVLink.
#include <cstddef>

#include "sim/policies/collectives/exchange_costs.h"
#include "sim/policies/collectives/node_members.h"

namespace sim {
namespace {

// Copies that a rank itself sends: per rank in its own node, per node elsewhere.
std::int64_t copies_sent(const CopyCounts& copies, const NodeMembers& members, std::size_t source,
                         int home) {
  const std::size_t ranks = static_cast<std::size_t>(copies.ranks);
  const std::size_t nodes = static_cast<std::size_t>(copies.nodes);
  std::int64_t sent = 0;
  for (const std::int32_t d : members.of(home))
    sent += copies.rank_copies[source * ranks + static_cast<std::size_t>(d)];
  for (std::size_t n = 0; n < nodes; ++n) {
    if (static_cast<int>(n) != home) sent += copies.node_copies[source * nodes + n];
  }
  return sent;
}

}  // namespace

void forward_per_node(const Exchange& exchange, const StartupCost& cost, ExchangeLegs& legs) {
  const CopyCounts& copies = *exchange.copies;
  const std::size_t ranks = exchange.ranks.size();
  const std::size_t nodes = static_cast<std::size_t>(copies.nodes);
  const NodeMembers members(legs);
  set_startup(exchange, cost, copies.rank_copies, legs.body());
  std::vector<std::int32_t> others;
  for (std::size_t s = 0; s < ranks; ++s) {
    const int source = static_cast<int>(s);
    const int home = legs.node_of(source);
    const std::int64_t payload = copies_sent(copies, members, s, home);
    if (payload == 0) continue;
    const double per_byte =
        copy_seconds(exchange, cost, source, false) /
        (static_cast<double>(payload) * static_cast<double>(exchange.bytes_per_copy.count()));
    for (std::size_t n = 0; n < nodes; ++n) {
      const int node = static_cast<int>(n);
      if (node == home) {
        for (const std::int32_t d : members.of(node)) {
          const std::int64_t count = copies.rank_copies[s * ranks + static_cast<std::size_t>(d)];
          if (count == 0) continue;
          legs.leg({source, d, count});
          legs.charge_copy(source, per_byte);
          legs.flush(source, std::span(&d, 1), count);
        }
        continue;
      }
      const std::int64_t sent = copies.node_copies[s * nodes + n];
      if (sent == 0) continue;
      const int relay = members.on_rail(node, legs.rail_of(source));
      others.clear();
      legs.leg({source, relay, sent});
      for (const std::int32_t d : members.of(node)) {
        const std::int64_t count = copies.rank_copies[s * ranks + static_cast<std::size_t>(d)];
        if (count == 0) continue;
        others.push_back(d);
        if (d != relay) {
          legs.leg({relay, d, count, static_cast<double>(count) / static_cast<double>(sent), true});
        }
      }
      legs.charge_copy(source, per_byte);
      legs.flush(source, others, sent);
    }
  }
}

}  // namespace sim
