// Collectives in two levels: rings inside the nodes and rings between the ranks of equal place.
// With n nodes of m ranks a rank sends S (m-1)/m inside and S/m (n-1)/n between nodes; all-reduce
// twice that.
#include <string>

#include "sim/policies/collectives/collective_builder.h"

namespace sim {
namespace {

void rings_inside(CollectiveBuilder& builder, StageId stage) {
  for (const auto& node : builder.nodes()) {
    const double m = static_cast<double>(node.size());
    add_ring(builder, node, builder.bytes() * (m - 1) / m, 1, stage);
  }
}

void rings_between(CollectiveBuilder& builder, int rounds, StageId stage) {
  const auto& nodes = builder.nodes();
  const double n = static_cast<double>(nodes.size());
  const double m = static_cast<double>(nodes.front().size());
  std::vector<std::int32_t> order(nodes.size());
  for (std::size_t place = 0; place < nodes.front().size(); ++place) {
    for (std::size_t i = 0; i < nodes.size(); ++i) order[i] = nodes[i][place];
    add_ring(builder, order, rounds * builder.bytes() / m * (n - 1) / n, rounds, stage);
  }
}

void begin(CollectiveBuilder& builder, int rounds) {
  check_equal_nodes(builder, "hierarchical");
  builder.start(rounds *
                static_cast<int>(builder.nodes().size() - 1 + builder.nodes().front().size() - 1));
}

}  // namespace

void hierarchical_all_gather(CollectiveBuilder& builder) {
  begin(builder, 1);
  const StageId between = builder.stage(-1);
  rings_between(builder, 1, between);
  rings_inside(builder, builder.stage(between));
}

void hierarchical_reduce_scatter(CollectiveBuilder& builder) {
  begin(builder, 1);
  const StageId inside = builder.stage(-1);
  rings_inside(builder, inside);
  rings_between(builder, 1, builder.stage(inside));
}

void hierarchical_all_reduce(CollectiveBuilder& builder) {
  begin(builder, 2);
  const StageId inside = builder.stage(-1);
  rings_inside(builder, inside);
  const StageId between = builder.stage(inside);
  rings_between(builder, 2, between);
  rings_inside(builder, builder.stage(between));
}

}  // namespace sim
