#include "sim/workloads/linear_costs.h"

#include <algorithm>
#include <cmath>

namespace sim {
namespace {

constexpr double kSecondsPerMs = 1e-3;
constexpr double kGradientBytes = 4;      // per element: fp32, assumed
constexpr double kLinaPieceBytes = 30e6;  // FSMoE, section 6: Lina with pieces of 30 MB

// `times` operations of `units` each, one after another.
OperationCost cost_of(const LinearCost& cost, double units, double times = 1) {
  return {cost.start_ms * times * kSecondsPerMs, cost.per_unit_ms * units * times * kSecondsPerMs};
}

OperationCost fixed(double ms) { return {ms * kSecondsPerMs, 0}; }

OperationCost twice(const OperationCost& cost) { return {2 * cost.start_s, 2 * cost.work_s}; }

}  // namespace

LayerOperations operations_of(const LinearCosts& costs, const LayerShape& shape) {
  using enum LayerOperation;
  const double tokens = static_cast<double>(shape.batch) * shape.sequence_length;
  const double hidden = shape.hidden;
  const double rows = tokens * shape.top_k * shape.capacity_factor;
  // The GPUs of a node hold each other's tokens and share each matrix, so a GPU computes what its
  // own tokens need of whole matrices.
  const double expert_macs = rows * hidden * hidden * shape.ffn_ratio;
  const double projection_macs = tokens * hidden * hidden;
  const double score_macs = tokens * shape.sequence_length * hidden;
  LayerOperations operations;
  const auto set = [&](LayerOperation operation, const OperationCost& forward,
                       const OperationCost& backward) {
    operations.forward[static_cast<std::size_t>(operation)] = forward;
    operations.backward[static_cast<std::size_t>(operation)] = backward;
  };
  // Four projections, scores and values.
  OperationCost attention = cost_of(costs.gemm, projection_macs, 4);
  const OperationCost scores = cost_of(costs.gemm, score_macs, 2);
  attention = {attention.start_s + scores.start_s, attention.work_s + scores.work_s};
  const OperationCost experts = cost_of(costs.gemm, expert_macs, shape.gated ? 3 : 2);
  const OperationCost exchange = cost_of(costs.all_to_all, rows * hidden);
  const OperationCost gather = cost_of(costs.all_gather, rows * hidden);
  const OperationCost scatter = cost_of(costs.reduce_scatter, rows * hidden);
  const double gradient_elements = 3 * hidden * hidden / costs.gpus_per_node;
  set(kAttention, attention, twice(attention));
  set(kRouting, fixed(costs.routing_ms), fixed(costs.routing_ms));
  set(kOrder, fixed(costs.order_ms), fixed(costs.order_backward_ms));
  set(kDispatch, exchange, exchange);
  set(kCombine, exchange, exchange);
  set(kGather, gather, gather);
  set(kScatter, scatter, scatter);
  set(kExperts, experts, twice(experts));
  set(kGradient, {}, cost_of(costs.all_reduce, gradient_elements));
  operations.gradient_pieces = std::max(
      1, static_cast<int>(std::ceil(gradient_elements * kGradientBytes / kLinaPieceBytes)));
  return operations;
}

}  // namespace sim
