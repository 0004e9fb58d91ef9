// Recursive halving and doubling: log2(g) steps, each with one partner, each a stage. Step k of the
// doubling joins ranks 2^k apart with S 2^k / g bytes each way; the halving goes the other way
// round. The broadcast is a binomial tree: in step k the ranks below 2^k (counted from the root)
// send all of S. R. Thakur, R. Rabenseifner, W. Gropp, "Optimization of Collective Communication
// Operations in MPICH", IJHPCA 19 (2005).
#include <bit>
#include <string>

#include "sim/core/error.h"
#include "sim/policies/collectives/collective_builder.h"

namespace sim {
namespace {

// Each step one stage after `stage`; returns the last one.
StageId exchange_step(CollectiveBuilder& builder, int distance, StageId before) {
  const StageId stage = builder.stage(before);
  const double bytes = builder.bytes() * distance / builder.ranks();
  for (int r = 0; r < builder.ranks(); ++r) builder.send(r, r ^ distance, bytes, stage);
  return stage;
}

int steps_of(const CollectiveBuilder& builder) {
  const unsigned g = static_cast<unsigned>(builder.ranks());
  if (!std::has_single_bit(g)) {
    throw Error("a recursive " + std::string(builder.call().operation) +
                    " needs a power of two of ranks, not " + std::to_string(g),
                "take nccl-ring or hierarchical");
  }
  return std::countr_zero(g);
}

StageId halve(CollectiveBuilder& builder, int steps, StageId before) {
  for (int k = steps - 1; k >= 0; --k) before = exchange_step(builder, 1 << k, before);
  return before;
}

StageId double_up(CollectiveBuilder& builder, int steps, StageId before) {
  for (int k = 0; k < steps; ++k) before = exchange_step(builder, 1 << k, before);
  return before;
}

}  // namespace

void recursive_reduce_scatter(CollectiveBuilder& builder) {
  const int steps = steps_of(builder);
  builder.start(steps);
  halve(builder, steps, -1);
}

void recursive_all_gather(CollectiveBuilder& builder) {
  const int steps = steps_of(builder);
  builder.start(steps);
  double_up(builder, steps, -1);
}

void recursive_all_reduce(CollectiveBuilder& builder) {
  const int steps = steps_of(builder);
  builder.start(2 * steps);
  double_up(builder, steps, halve(builder, steps, -1));
}

void binomial_broadcast(CollectiveBuilder& builder) {
  const int g = builder.ranks();
  const int root = builder.call().root;
  builder.start(std::bit_width(static_cast<unsigned>(g - 1)));
  StageId stage = -1;
  for (int have = 1; have < g; have *= 2) {
    stage = builder.stage(stage);
    for (int i = 0; i < have && i + have < g; ++i)
      builder.send((root + i) % g, (root + i + have) % g, builder.bytes(), stage);
  }
}

}  // namespace sim
