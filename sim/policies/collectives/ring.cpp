// NCCL's rings. Every rank passes S (g-1)/g bytes to its neighbour in g-1 steps; all-reduce twice
// that.
//
// Over several nodes there is a ring per rank of a node ("channel"), each with its share of S. Ring
// c comes into a node at the rank in place c and leaves it from place c+1; in every other node the
// other way round, so that nodes are joined on one rail (for an odd number of nodes one hop of each
// ring changes rails) and every NIC carries one ring out and one in.
#include <algorithm>
#include <limits>

#include "sim/policies/collectives/collective_builder.h"

namespace sim {

std::vector<std::vector<std::int32_t>> ring_orders(
    const std::vector<std::vector<std::int32_t>>& nodes) {
  if (nodes.size() == 1) return {nodes.front()};
  std::size_t channels = nodes.front().size();
  for (const auto& node : nodes) channels = std::min(channels, node.size());
  std::vector<std::vector<std::int32_t>> orders(channels);
  for (std::size_t c = 0; c < channels; ++c) {
    for (std::size_t n = 0; n < nodes.size(); ++n) {
      const std::size_t size = nodes[n].size();
      for (std::size_t i = 0; i < size; ++i) {
        // From c down to c+1, or from c+1 up to c, modulo the node.
        const std::size_t at = n % 2 == 0 ? (c + size - i) % size : (c + 1 + i) % size;
        orders[c].push_back(nodes[n][at]);
      }
    }
  }
  return orders;
}

void add_ring(CollectiveBuilder& builder, std::span<const std::int32_t> order, double sent,
              int rounds, StageId stage) {
  if (order.size() < 2) return;
  Duration sum{0};
  Duration least(std::numeric_limits<std::int64_t>::max());
  for (std::size_t i = 0; i < order.size(); ++i) {
    const Duration latency = builder.hop(order[i], order[(i + 1) % order.size()]);
    sum += latency;
    least = std::min(least, latency);
  }
  // A piece takes every hop but the last one home.
  builder.flush(order, sent, (sum - least) * rounds, stage);
}

void ring_collective(CollectiveBuilder& builder) {
  const int rounds = builder.call().operation == "all-reduce" ? 2 : 1;
  const int g = builder.ranks();
  builder.start(rounds * (g - 1));
  const auto orders = ring_orders(builder.nodes());
  const double sent = rounds * builder.bytes() * (g - 1) / g / static_cast<double>(orders.size());
  for (const auto& order : orders) add_ring(builder, order, sent, rounds);
}

// The same rings, cut open before the root.
void ring_broadcast(CollectiveBuilder& builder) {
  builder.start(builder.ranks() - 1);
  auto orders = ring_orders(builder.nodes());
  for (auto& order : orders) {
    std::rotate(order.begin(), std::find(order.begin(), order.end(), builder.call().root),
                order.end());
    Duration latency{0};
    for (std::size_t i = 0; i + 1 < order.size(); ++i)
      latency += builder.hop(order[i], order[i + 1]);
    builder.flush(order, builder.bytes() / static_cast<double>(orders.size()), latency);
  }
}

}  // namespace sim
